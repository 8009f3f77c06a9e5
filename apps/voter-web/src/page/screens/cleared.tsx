import type { Words } from '../../words/words.ts'
import { Heading } from '../parts.tsx'

export function Cleared({ w }: { w: Words }) {
  return (
    <>
      <Heading w={w}>{w.cleared.title}</Heading>
      <p>{w.cleared.text}</p>
      <p><a href="?">{w.cleared.again}</a></p>
    </>
  )
}
