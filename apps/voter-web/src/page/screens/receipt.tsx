import { useState } from 'preact/hooks'

import type { LeafProof } from '../../api/types.ts'
import { InLog } from '../inlog.tsx'
import { download, Heading, Live, pick, QR, type Screen, Ticket } from '../parts.tsx'

/** The proof, in forms to keep: on the screen, on paper, in a file. */
export function Receipt({ w, j, go, clear }: Screen & { clear: () => void }) {
  const { receipt, genuine } = j.receipt!
  const [saved, setSaved] = useState(false)
  const [proof, setProof] = useState<LeafProof>()
  const m = j.manifest
  const save = () => {
    download(`popvote-${m.id}-${receipt.code.replaceAll(' ', '-')}.json`, {
      about: m.reveal_tally_key ? w.receipt.revealed : w.receipt.says,
      ...(m.kind === 'public' ? {} : { warning: w.kind[m.kind] }),
      poll: { id: m.id, title: pick(m.title, w).words, organiser: pick(m.organiser.name, w).words, signing_key: m.signing_key, log_key: m.log_key },
      receipt,
      // Together with the receipt it proves that the ballot is in the log, to anybody and without us.
      ...(proof && { log: proof }),
    })
    setSaved(true)
  }
  return (
    <>
      <Heading w={w} poll={m.title}>{genuine ? w.receipt.title : w.receipt.wrongTitle}</Heading>
      {!genuine && <p class="box danger" role="alert">{w.receipt.wrong}</p>}
      <Ticket w={w} m={m} name={w.receipt.code} code={receipt.code} as={genuine ? 'good' : 'doubtful'}>
        <QR text={`PopVote ${m.id} ${receipt.code}`} label={w.receipt.qr} />
      </Ticket>
      {genuine && <p>{m.reveal_tally_key ? w.receipt.revealed : w.receipt.keep}</p>}
      <div class="row">
        <button type="button" onClick={save}>{w.receipt.save}</button>
        <button type="button" onClick={() => print()}>{w.receipt.print}</button>
      </div>
      <Live>{saved && w.receipt.savedNote}</Live>
      {genuine && (
        <>
          <h2>{w.receipt.checked}</h2>
          <ul class="checks">{w.receipt.checks.map((c) => <li key={c}>{c}</li>)}</ul>
        </>
      )}
      {genuine && <InLog w={w} manifest={m} receipt={receipt} found={setProof} />}
      <h2>{w.receipt.how}</h2>
      <ol>{w.receipt.howTo.map((h) => <li key={h}>{h}</li>)}</ol>
      <div class="unprinted">
        <button type="button" onClick={() => go({ name: 'check' })}>{w.about.check}</button>
        <h2>{w.receipt.clear}</h2>
        <p>{w.receipt.clearText}</p>
        <button type="button" class="main" onClick={clear}>{w.receipt.clear}</button>
      </div>
    </>
  )
}
