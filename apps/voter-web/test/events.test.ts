import { expect, it } from 'vitest'

import { eventParser, type ServerEvent } from '../src/api/events.ts'

const read = (...pieces: string[]): ServerEvent[] => {
  const events: ServerEvent[] = []
  const feed = eventParser((e) => events.push(e))
  for (const p of pieces) feed(p)
  return events
}

const stream = 'retry: 1000\r\n\r\n: ping\n\nevent: verified\ndata: {"a":\ndata: 1}\n\nevent: expired\rdata:\r\rdata: x\n\n'
const events = [
  { event: 'verified', data: '{"a":\n1}' },
  { event: 'expired', data: '' },
  { event: 'message', data: 'x' },
]

it('reads events, comments and all three line ends', () => expect(read(stream)).toEqual(events))

it('reads the same wherever the stream is cut', () => {
  for (let i = 0; i <= stream.length; i++) expect(read(stream.slice(0, i), stream.slice(i)), `cut at ${i}`).toEqual(events)
  expect(read(...stream.split(/(?<=.)/s))).toEqual(events)
})

it('hands out nothing that is not whole', () => expect(read('event: verified\ndata: {}\n')).toEqual([]))
