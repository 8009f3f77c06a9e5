/** What can be told of a share file before it is sent: enough to say how many are still needed. */
export interface Share {
  name: string
  text: string
  index: number
  k: number
  n: number
  keyId: string
  readable: boolean
}

export function readShare(name: string, text: string): Share {
  const blank: Share = { name, text, index: 0, k: 0, n: 0, keyId: '', readable: false }
  try {
    const s = JSON.parse(text) as Record<string, unknown>
    if (s.typ !== 'popvote-share') return blank
    const [index, k, n] = [s.index, s.k, s.n].map(Number) as [number, number, number]
    if (!(index >= 1 && k >= 1 && n >= k)) return blank
    return { ...blank, index, k, n, keyId: typeof s.key_id === 'string' ? s.key_id : '', readable: true }
  } catch {
    return blank
  }
}

/** tally counts the different shares of a key, and how many it takes (0: not known yet). */
export function tally(shares: readonly Share[], keyId: string): { have: number; need: number } {
  const fit = shares.filter((s) => s.readable && s.keyId === keyId)
  return { have: new Set(fit.map((s) => s.index)).size, need: fit[0]?.k ?? 0 }
}
