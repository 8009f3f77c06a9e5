// Small things about time, each of which an abort ends.

/** Waits; ends early, without an error, when the signal aborts. */
export const sleep = (ms: number, signal?: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer)
      signal?.removeEventListener('abort', done)
      resolve()
    }
    const timer = setTimeout(done, ms)
    if (signal?.aborted) done()
    else signal?.addEventListener('abort', done)
  })

/** Doubling from one second to `most`, give or take a quarter, so that voters do not come back in step. */
export const backoff = (failures: number, most: number): number =>
  Math.min(most, 1000 * 2 ** Math.min(failures, 16)) * (0.75 + Math.random() / 2)
