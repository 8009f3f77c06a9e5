// The API's words, by their own names. Everything here is made from the OpenAPI document.

import type { components } from './schema.gen.ts'

type Schemas = components['schemas']

export type Text = Schemas['Text']
export type Lang = Schemas['Lang']
export type Manifest = Schemas['Manifest']
export type Question = Schemas['Question']
export type Option = Schemas['Option']
export type JWK = Schemas['JWK']
export type PollList = Schemas['PollList']
export type SignedDocument = { jws: string }
export type Challenge = Schemas['Challenge']
export type HumanCheck = Schemas['HumanCheck']
export type SessionRequest = Schemas['SessionRequest']
export type Session = Schemas['Session']
export type WaitingRoom = Schemas['WaitingRoom']
export type Queue = Schemas['Queue']
export type Verification = Schemas['Verification']
export type VerificationState = Schemas['VerificationState']
export type Verified = Schemas['Verified']
export type CastResponse = Schemas['CastResponse']
export type LeafProof = Schemas['LeafProof']
export type Receipt = Schemas['Receipt']
export type Result = Schemas['Result']
export type Problem = Schemas['Problem']
export type ProblemCode = Schemas['ProblemCode']
export type Effect = Problem['effect']
