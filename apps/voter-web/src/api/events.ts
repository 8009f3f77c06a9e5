// Reading an event stream that came by fetch (the access token travels in a header, so EventSource
// cannot). Only what the server sends: event, data, comments.

export interface ServerEvent {
  event: string
  data: string
}

/** A parser that is fed text as it arrives and hands out each event once it is whole. */
export function eventParser(emit: (e: ServerEvent) => void): (text: string) => void {
  let rest = ''
  let event = ''
  let data: string[] = []
  return (text) => {
    rest += text
    // A CR at the end may be half of a CRLF: it waits for the next piece.
    for (let m; (m = /\r\n|\n|\r(?!$)/.exec(rest)); ) {
      const line = rest.slice(0, m.index)
      rest = rest.slice(m.index + m[0].length)
      if (!line) {
        if (data.length) emit({ event: event || 'message', data: data.join('\n') })
        event = ''
        data = []
        continue
      }
      const [, field, value] = /^([^:]*):? ?(.*)$/s.exec(line)!
      if (field === 'event') event = value!
      else if (field === 'data') data.push(value!)
    }
  }
}
