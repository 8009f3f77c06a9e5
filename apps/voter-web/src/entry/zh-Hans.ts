import { start } from '../main.tsx'
import { zhHans } from '../words/zh-Hans.ts'

start(zhHans)
