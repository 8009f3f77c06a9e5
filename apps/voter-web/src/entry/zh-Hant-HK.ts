import { start } from '../main.tsx'
import { zhHantHK } from '../words/zh-Hant-HK.ts'

start(zhHantHK)
