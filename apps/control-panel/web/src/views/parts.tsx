import type { JSX } from 'preact'
import type { Fact, Part } from '../types'
import { useWords, type Speech } from '../words'
import { Loading, PartBadge, Section } from './basics'

/** factsOf puts a part's numbers into words, with their units. */
function factsOf(facts: readonly Fact[], { t, f }: Speech): string[] {
  const value = (name: string): string | undefined => facts.find((x) => x.name === name)?.value
  return facts.flatMap(({ name, value: v }) => {
    const label = t.parts.facts[name] ?? name
    if (v === '') return []
    switch (name) {
      case 'queue':
        return value('queue_max') ? [`${label} ${f.num(Number(v))} / ${f.num(Number(value('queue_max')))}`] : [`${label} ${f.num(Number(v))}`]
      case 'queue_max':
        return []
      case 'last_commit_ms':
        return [`${label} ${v} ms`]
      case 'disk_free_bytes':
        return [`${label} ${f.bytes(Number(v))}`]
      case 'phone_network':
        return [v === 'simulated' ? (t.parts.facts.simulated_network ?? v) : v]
      case 'schema':
        return [`${label} ${v}`]
      default:
        return [/^\d+$/.test(v) ? `${label} ${f.num(Number(v))}` : `${label} ${v}`]
    }
  })
}

export function Parts({ parts }: { parts: readonly Part[] | null }): JSX.Element {
  const words = useWords()
  const { t } = words
  const clouds = parts?.some((p) => p.cloud)
  return (
    <Section id="parts" title={t.parts.title}>
      {parts === null ? (
        <Loading />
      ) : parts.length === 0 ? (
        <p class="quiet">{t.parts.empty}</p>
      ) : (
        <ul class="parts">
          {parts.map((p) => (
            <li key={p.name + (p.cloud ?? '')} class={`part part-${p.state}`}>
              <div class="part-head">
                <b>{p.name}</b>
                {clouds && p.cloud && <span class="quiet">{p.cloud}</span>}
                <PartBadge state={p.state} />
              </div>
              {p.note ? <p class="part-note" lang="en">{p.note}</p> : t.parts.names[p.name] && <p class="quiet">{t.parts.names[p.name]}</p>}
              <p class="part-facts">
                {factsOf(p.facts ?? [], words).map((fact) => <span key={fact}>{fact}</span>)}
                {p.version && <span>{p.version}</span>}
              </p>
            </li>
          ))}
        </ul>
      )}
    </Section>
  )
}
