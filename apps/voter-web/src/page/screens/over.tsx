import { Heading, type Screen } from '../parts.tsx'

/** A time limit has passed: what that means, and the way on. */
export function Over(props: Pick<Screen, 'w' | 'j'> & { title: string; text: string; again: () => void }) {
  const { w, j } = props
  return (
    <>
      <Heading w={w} poll={j.manifest.title}>{props.title}</Heading>
      <p>{props.text}</p>
      <button class="main" type="button" onClick={props.again}>{w.over.again}</button>
    </>
  )
}
