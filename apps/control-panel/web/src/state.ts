import { createContext } from 'preact'
import { useContext, useEffect, useState } from 'preact/hooks'
import type { SessionView } from './types'
import { blank, type Live, type Picture } from './live'

/** Panel is what every screen shares: the live picture, and the server's clock. */
export interface Panel {
  live: Live
  picture: Picture
  session: SessionView
}

export const Shared = createContext<Panel | null>(null)

export function usePanel(): Panel {
  const panel = useContext(Shared)
  if (!panel) throw new Error('a screen outside the panel')
  return panel
}

/** usePicture renders again whenever the picture changes. */
export function usePicture(live: Live | null): Picture {
  const [picture, set] = useState<Picture>(live?.picture ?? blank)
  useEffect(() => {
    if (!live) return
    set(live.picture)
    return live.subscribe(() => set(live.picture))
  }, [live])
  return live ? picture : blank
}

/** useNow is the server's time in ms, every second. */
export function useNow(skew: number): number {
  const [now, set] = useState(Date.now)
  useEffect(() => {
    const timer = setInterval(() => set(Date.now()), 1000)
    return () => clearInterval(timer)
  }, [])
  return now + skew
}

/** useTitle names the tab after the screen. */
export function useTitle(title: string): void {
  useEffect(() => {
    document.title = title ? `${title} · PopVote` : 'PopVote'
  }, [title])
}
