import { type Parameters, solve } from './solve.ts'

// A worker of one job: a challenge's parameters in, its solution out.
onmessage = (event: MessageEvent<Parameters>) => {
  void solve(event.data).then(
    (solution) => postMessage(solution),
    () => postMessage(null),
  )
}
