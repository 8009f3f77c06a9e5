import { useEffect, useState } from 'preact/hooks'

import type { HumanCheck } from '../api/types.ts'
import { asked } from '../work/challenge.ts'

type Part = typeof import('./human.tsx')

/** The check by another company that is asked for beside the work, and its part of the page: few votes have it, so it is no part of what all load. */
export function useBeside() {
  const [beside, setBeside] = useState<{ check?: HumanCheck | undefined; part?: Part | undefined }>({})
  const look = async () => {
    const check = await asked()
    const now = { check, part: check && (await import('./human.tsx').catch(() => undefined)) }
    setBeside(now)
    return now
  }
  useEffect(() => void look(), [])
  return { ...beside, look }
}
