// The words of another company's check, in all languages at once: few votes have one, so they come with it, and not with
// the page.

import type { Lang } from '../api/types.ts'

export interface HumanWords {
  notice: (service: string) => string
  title: string
  first: string
  failed: string
  again: string
}

const en: HumanWords = {
  notice: (service) =>
    `In this vote, ${service} also checks that you are a person. It sees your internet address, your browser and that you are here, and nothing that you enter on this page.`,
  title: 'Check that you are a person',
  first: 'Complete the check that you are a person',
  failed: 'The check could not be loaded. Load it again, or go on all the same: if it is out of order for everybody, you do not need it.',
  again: 'Load the check again',
}

const zhHantHK: HumanWords = {
  notice: (service) => `這次投票另由 ${service} 檢查操作的是真人。它會知道你的網絡位址（IP）、你用的瀏覽器，以及你來過這裡；你在本頁輸入的資料，它一概看不到。`,
  title: '真人檢查',
  first: '請先完成真人檢查',
  failed: '真人檢查無法載入。請重新載入，亦可直接繼續：如果它對所有人都失靈，你便無需做這項檢查。',
  again: '重新載入檢查',
}

const zhHans: HumanWords = {
  notice: (service) => `本次投票还由 ${service} 检查操作者是不是真人。它会知道您的网络地址（IP）、您用的浏览器，以及您来过这里；您在本页面输入的内容，它都看不到。`,
  title: '真人检查',
  first: '请先完成真人检查',
  failed: '真人检查无法加载。请重新加载，也可以直接继续：如果它对所有人都失灵，您就不需要做这项检查。',
  again: '重新加载检查',
}

export const humanWords: Record<Lang, HumanWords> = { 'zh-Hant-HK': zhHantHK, 'zh-Hans': zhHans, en }
