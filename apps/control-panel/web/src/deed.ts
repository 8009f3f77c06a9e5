import type { AuditEntry } from './types'
import type { Messages } from './words/en'

interface Detail {
  from?: unknown
  refused?: unknown
}

function detailOf(entry: AuditEntry): Detail {
  try {
    return (JSON.parse(entry.detail) ?? {}) as Detail
  } catch {
    return {}
  }
}

/** deed says what an audit entry tells: Opened, Resumed, Extended, or what was refused. */
export function deed(entry: AuditEntry, t: Messages): string {
  const detail = detailOf(entry)
  const key = entry.action === 'open' && detail.from === 'paused' ? 'resume' : entry.action
  const words = t.audit.actions[key] ?? entry.action
  return typeof detail.refused === 'string' ? t.audit.refused(words) : words
}

export function wasRefused(entry: AuditEntry): boolean {
  return typeof detailOf(entry).refused === 'string'
}
