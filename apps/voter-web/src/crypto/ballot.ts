// What a ballot says, in the one form the count reads: see libs/ballot, and its vectors, which the
// tests here run too.

import type { Manifest } from '../api/types.ts'
import { type Bytes, concat, fromBase64, utf8 } from './bytes.ts'
import { recipient, seal } from './hpke.ts'

/** Option ids per question, in the manifest's order. */
export type Answers = string[][]

/** Why a question's answer cannot stand. */
export type Fault = 'too-few' | 'too-many' | 'not-alone' | 'no-such-option'

/** Checks one question's answer against its rules; undefined when it may stand. */
export function fault(question: Manifest['questions'][number], chosen: string[]): Fault | undefined {
  const options = question.options.filter((o) => chosen.includes(o.id))
  if (options.length !== chosen.length) return 'no-such-option'
  // Abstain and blank are an answer by themselves, whatever the fewest number of choices is.
  if (options.some((o) => o.kind !== 'choice')) return options.length > 1 ? 'not-alone' : undefined
  if (chosen.length < question.min) return 'too-few'
  if (chosen.length > question.max) return 'too-many'
  return undefined
}

/** The padded plain ballot; throws when the answers may not stand or the ballot does not fit. */
export function encode(manifest: Manifest, answers: Answers): Bytes {
  const { questions, ballot, id } = manifest
  if (answers.length !== questions.length) throw new Error('one answer per question')
  // The manifest's order, whatever order the voter saw: the order of marks says nothing.
  const ordered = questions.map((q, i) => {
    const chosen = answers[i] ?? []
    const wrong = fault(q, chosen)
    if (wrong) throw new Error(`${q.id}: ${wrong}`)
    return q.options.filter((o) => chosen.includes(o.id)).map((o) => o.id)
  })
  const plain = utf8(JSON.stringify({ v: 1, poll: id, answers: ordered }))
  if (plain.length + 1 > ballot.size) throw new Error('the ballot is too long for its size')
  const padded = new Uint8Array(ballot.size)
  padded.set(plain)
  padded[plain.length] = 0x80
  return padded
}

/** Seals the answers to the poll's tally key: enc ‖ ciphertext. */
export async function sealBallot(manifest: Manifest, answers: Answers): Promise<Bytes> {
  const { x, y } = manifest.ballot.tally_key
  const to = await recipient(concat(Uint8Array.of(4), fromBase64(x), fromBase64(y)))
  return seal(to, utf8(`popvote ballot v1\0${manifest.id}`), encode(manifest, answers))
}
