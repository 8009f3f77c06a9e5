import { useEffect, useState } from 'preact/hooks'

/** The time by this device's clock, milliseconds, told anew every second while `running`. */
export function useNow(running: boolean): number {
  const [now, setNow] = useState(Date.now())
  useEffect(() => {
    if (!running) return
    setNow(Date.now())
    const timer = setInterval(() => setNow(Date.now()), 1000)
    return () => clearInterval(timer)
  }, [running])
  return now
}

/** Calls back when the voter returns to the page or the network returns to the device. */
export function useReturn(back: () => void): void {
  useEffect(() => {
    const seen = () => document.visibilityState === 'visible' && back()
    document.addEventListener('visibilitychange', seen)
    addEventListener('online', back)
    const restored = (e: PageTransitionEvent) => e.persisted && back()
    addEventListener('pageshow', restored)
    return () => {
      document.removeEventListener('visibilitychange', seen)
      removeEventListener('online', back)
      removeEventListener('pageshow', restored)
    }
  }, [])
}

export const seconds = (to: number, now: number): number => Math.max(0, Math.ceil((to - now) / 1000))
