import { useState } from 'preact/hooks'

import { hkidFault } from '../../vote/hkid.ts'
import { useBeside } from '../beside.ts'
import { ErrorSummary, Field, Form, Heading, type Screen } from '../parts.tsx'

export function Identity({ w, j, set, go, refused }: Screen & { refused: string | undefined }) {
  const [number, setNumber] = useState(j.draft?.number ?? '')
  const [wrong, setWrong] = useState(refused)
  // The proof of work is solved while the voter types.
  const { check, part } = useBeside()
  const next = () => {
    const fault = hkidFault(number)
    setWrong(fault && w.identity.faults[fault])
    if (fault) return
    set({ ...j, draft: { ...j.draft, number: number.trim() } })
    go({ name: 'phone' })
  }
  return (
    <>
      {wrong && <ErrorSummary w={w} id="number">{wrong}</ErrorSummary>}
      <Heading w={w} poll={j.manifest.title} step={1} wrong={!!wrong}>{w.identity.title}</Heading>
      {j.pending && <p class="box">{j.pending.maybe && <strong>{w.counted.unknown}{w.gap}</strong>}{w.phone.resume}</p>}
      <Form onSubmit={next}>
        <Field
          id="number"
          label={w.identity.label}
          hint={w.identity.hint}
          wrong={wrong}
          value={number}
          onInput={setNumber}
          class="w12"
          input={{ type: 'text', autocomplete: 'off', autocapitalize: 'characters', spellcheck: false, maxLength: 64 }}
        />
        <p class="hint">{w.identity.why}</p>
        {check && part && <part.Notice w={w} check={check} />}
        <button class="main">{w.continue}</button>
      </Form>
    </>
  )
}
