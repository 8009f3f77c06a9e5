import type { JSX } from 'preact'

// Shapes before colours: each state can be told from the others in grey.
const paths = {
  good: <path d="M3.5 8.5l3 3 6-7" />,
  idle: <path d="M4 8h8" />,
  watch: (
    <>
      <path d="M8 2.5l6.5 11h-13z" />
      <path d="M8 6.8v3M8 11.8v.01" />
    </>
  ),
  bad: (
    <>
      <path d="M5.4 1.5h5.2l3.9 3.9v5.2l-3.9 3.9H5.4l-3.9-3.9V5.4z" />
      <path d="M8 4.8v3.8M8 11.1v.01" />
    </>
  ),
  draft: <circle cx="8" cy="8" r="5" stroke-dasharray="2.6 2.6" />,
  open: <circle cx="8" cy="8" r="4.6" fill="currentColor" />,
  paused: <path d="M5.5 3.5v9M10.5 3.5v9" stroke-width="2.6" />,
  closed: <rect x="3.6" y="3.6" width="8.8" height="8.8" rx="1" fill="currentColor" />,
  counted: <path d="M12 3.2H4.4L8.6 8l-4.2 4.8H12" />,
  published: (
    <>
      <circle cx="8" cy="8" r="6.2" />
      <path d="M5.2 8.2l2 2 3.7-4.2" />
    </>
  ),
  ok: <path d="M3.5 8.5l3 3 6-7" />,
  degraded: (
    <>
      <path d="M8 2.5l6.5 11h-13z" />
      <path d="M8 6.8v3M8 11.8v.01" />
    </>
  ),
  down: <path d="M4 4l8 8M12 4l-8 8" stroke-width="2.2" />,
  up: <path d="M8 13V3.5M4 7.2l4-4 4 4" />,
  lower: <path d="M8 3v9.5M4 8.8l4 4 4-4" />,
  cross: <path d="M4 4l8 8M12 4l-8 8" />,
  plus: <path d="M8 3v10M3 8h10" />,
  save: <path d="M8 2.5v7.2M4.6 6.8L8 10.2l3.4-3.4M3 13.2h10" />,
  screen: (
    <>
      <rect x="1.8" y="3" width="12.4" height="8" rx="1" />
      <path d="M5.5 13.6h5" />
    </>
  ),
} as const

export type Shape = keyof typeof paths

export function Icon({ shape, size = 16 }: { shape: Shape; size?: number }): JSX.Element {
  return (
    <svg class={`icon icon-${shape}`} width={size} height={size} viewBox="0 0 16 16" aria-hidden="true" focusable="false"
      fill="none" stroke="currentColor" stroke-width="1.8" stroke-linecap="round" stroke-linejoin="round">
      {paths[shape]}
    </svg>
  )
}
