import { start } from '../main.tsx'
import { en } from '../words/en.ts'

start(en)
