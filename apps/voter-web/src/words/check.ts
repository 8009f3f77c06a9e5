// The words of checking a receipt, in all languages at once: few need them, so they come with that
// screen, and not with the page.

import type { Lang } from '../api/types.ts'

/** A heading, and what stands below it. */
interface Verdict {
  title: string
  text: string
}

export interface CheckWords {
  title: string
  lead: string
  label: string
  hint: string
  go: string
  fileTitle: string
  fileText: string
  open: string
  busy: string
  faults: Record<'empty' | 'form' | 'file', string>
  in: {
    title: string
    place: (n: string, of: string) => string
    signed: string
    issued: string
    stayed: string
    counted: string
  }
  limits: { title: string; list: [string, string] }
  notYet: { code: Verdict; file: Verdict; come: (when: string) => string; soon: string }
  missing: Record<'code' | 'file', { title: string; text: (size: string) => string }>
  wrong: Verdict
  forged: Verdict
  otherKey: Verdict
  save: string
  saved: string
  about: string
  again: string
  another: string
  correct: string
}

const en: CheckWords = {
  title: 'Check a receipt',
  lead: 'Is a ballot in the public log? This page works the proof out for itself. It cannot see how anybody voted.',
  label: 'Receipt code',
  hint: '16 letters and digits. Spaces and capitals do not matter.',
  go: 'Check this code',
  fileTitle: 'If you saved the receipt as a file',
  fileText: 'The file proves more than the code: also that this poll issued the receipt.',
  open: 'Open the file',
  busy: 'Checking the proof…',
  faults: {
    empty: 'Enter the receipt code',
    form: 'Look at the code again: it has 16 letters and digits, and never a U',
    file: 'This file is not a receipt that was saved here. Choose another one',
  },
  in: {
    title: 'This ballot is in the public log',
    place: (n, of) => `It is number ${n} of ${of} in the log. This page has worked the proof out for itself.`,
    signed: 'The log is signed with this poll’s key.',
    issued: 'The receipt is genuine: this poll’s key signed it when the ballot was stored.',
    stayed: 'It is where it was when you saved the file.',
    counted: 'The published result was counted from this very log.',
  },
  limits: {
    title: 'What this does not show',
    list: [
      'Whether the ballot says what was meant. Only the voter knows that: it was sealed on their device.',
      'Whose ballot it is. The log holds no names.',
    ],
  },
  notYet: {
    code: {
      title: 'This code is not in the public log yet',
      text: 'Either it is mistyped, or the ballot is still waiting in the box. Ballots go into the log in groups of at least 64, so that nobody can tell who voted when.',
    },
    file: {
      title: 'This ballot is in the box, and not in the public log yet',
      text: 'The receipt is genuine. Ballots go into the log in groups of at least 64, so that nobody can tell who voted when.',
    },
    come: (when) => `It will be there at the latest when voting closes, planned for ${when}. You can check again then, and at any time before.`,
    soon: 'Voting has closed, and the last ballots are on their way into the log. Look again in a few minutes.',
  },
  missing: {
    code: {
      title: 'No ballot with this code is in the public log',
      text: (size) =>
        `The votes have been counted, and the log is complete with ${size} ballots. Look at the code again, letter by letter. If it is right, show your receipt to the organiser: together with what you can save here, it is evidence.`,
    },
    file: {
      title: 'This ballot is missing from the public log',
      text: (size) =>
        `The receipt is genuine, the votes have been counted, and the ballot is not among the ${size} in the log. This must never happen. Save the evidence, and show it to the organiser and to anybody you trust.`,
    },
  },
  wrong: {
    title: 'The proof does not hold',
    text: 'The public log gave a proof that proves nothing. Look again over another network. If it stays so, save the evidence, and show it to the organiser and to anybody you trust.',
  },
  forged: {
    title: 'This file is not a genuine receipt of this poll',
    text: 'What is in it is not signed with this poll’s key. Either the file was changed, or this poll never issued it. If you have the code on paper, check that.',
  },
  otherKey: {
    title: 'This receipt is signed with other keys than the poll’s',
    text: 'One of the two is not genuine. Look again over another network. If it stays so, save the evidence, and show it to the organiser and to anybody you trust.',
  },
  save: 'Save the evidence',
  saved: 'The evidence has been saved.',
  about: 'What the voting service answered about a receipt, and why that is not as it should be.',
  again: 'Look again',
  another: 'Check another receipt',
  correct: 'Correct the code',
}

const zhHantHK: CheckWords = {
  title: '核對收據',
  lead: '想知道選票是否已列入公開紀錄？本頁會自行核算證明，但無法得知任何人怎樣投票。',
  label: '收據編號',
  hint: '共 16 個字母和數字，不分大小寫，空格可以省略。',
  go: '核對編號',
  fileTitle: '如已把收據儲存為檔案',
  fileText: '檔案能證明的比編號多：還能證明收據由這項投票發出。',
  open: '開啟檔案',
  busy: '正在核算證明…',
  faults: {
    empty: '請輸入收據編號',
    form: '請再看清楚編號：共有 16 個字母和數字，當中沒有 U',
    file: '這個檔案不是在此儲存的收據，請選擇另一個檔案',
  },
  in: {
    title: '這張選票已列入公開紀錄',
    place: (n, of) => `它是紀錄中的第 ${n} 張，紀錄共有 ${of} 張。本頁已自行核算這項證明。`,
    signed: '紀錄由這項投票的鎖匙簽署。',
    issued: '收據屬實：選票存妥時，由這項投票的鎖匙簽署。',
    stayed: '選票的位置與你儲存檔案時相同。',
    counted: '已公布的結果，正是根據這份紀錄點算。',
  },
  limits: {
    title: '這項核對不能證明甚麼',
    list: ['選票內容是否符合原意：選票在投票人的裝置上密封，只有投票人知道。', '選票屬於誰：紀錄中沒有姓名。'],
  },
  notYet: {
    code: {
      title: '公開紀錄中暫時沒有這個編號',
      text: '可能是編號有誤，也可能是選票仍在票箱內等候列入。為免有人得知誰在何時投票，選票每滿 64 張或以上才一併列入紀錄。',
    },
    file: {
      title: '選票已在票箱內，尚未列入公開紀錄',
      text: '收據屬實。為免有人得知誰在何時投票，選票每滿 64 張或以上才一併列入紀錄。',
    },
    come: (when) => `最遲在投票結束時列入，預定時間為 ${when}。屆時可再核對，之前亦可隨時查看。`,
    soon: '投票已經結束，最後一批選票正在列入紀錄。請於幾分鐘後再查看。',
  },
  missing: {
    code: {
      title: '公開紀錄中沒有這個編號的選票',
      text: (size) => `投票已經點算，紀錄已經齊全，共有 ${size} 張選票。請逐個字母核對編號。如果無誤，請向主辦機構出示你的收據：連同可在此儲存的資料，便是證據。`,
    },
    file: {
      title: '公開紀錄中缺少這張選票',
      text: (size) => `收據屬實，投票已經點算，但紀錄的 ${size} 張選票中沒有這一張。這種情況絕不應發生。請儲存證據，交給主辦機構及你信任的人查看。`,
    },
  },
  wrong: {
    title: '這項證明不成立',
    text: '公開紀錄給出的資料未能證明任何事。請改用另一個網絡再查看。如果仍然如此，請儲存證據，交給主辦機構及你信任的人查看。',
  },
  forged: {
    title: '這個檔案並非這項投票的真實收據',
    text: '檔案內容沒有這項投票的簽署：不是曾被更改，就是並非由這項投票發出。如果你有寫在紙上的編號，請改為核對編號。',
  },
  otherKey: {
    title: '這張收據的鎖匙與這項投票的不同',
    text: '兩者之中必有一項不真實。請改用另一個網絡再查看。如果仍然如此，請儲存證據，交給主辦機構及你信任的人查看。',
  },
  save: '儲存證據',
  saved: '證據已儲存。',
  about: '投票服務就一張收據所作的回應，以及不妥之處。',
  again: '再次查看',
  another: '核對另一張收據',
  correct: '更正編號',
}

const zhHans: CheckWords = {
  title: '核对回执',
  lead: '想知道选票是否已经列入公开记录？本页面会自行核算证明，但无法得知任何人怎么投的票。',
  label: '回执编号',
  hint: '共 16 个字母和数字，不分大小写，空格可以省略。',
  go: '核对编号',
  fileTitle: '如果您把回执保存成了文件',
  fileText: '文件能证明的比编号多：还能证明回执是本次投票签发的。',
  open: '打开文件',
  busy: '正在核算证明…',
  faults: {
    empty: '请输入回执编号',
    form: '请再看一下编号：共有 16 个字母和数字，其中没有 U',
    file: '这个文件不是在这里保存的回执，请选择其他文件',
  },
  in: {
    title: '这张选票已经列入公开记录',
    place: (n, of) => `它是记录中的第 ${n} 张，记录共有 ${of} 张。本页面已自行核算这份证明。`,
    signed: '记录由本次投票的密钥签署。',
    issued: '回执属实：选票存妥时，由本次投票的密钥签署。',
    stayed: '选票的位置与您保存文件时相同。',
    counted: '已公布的结果，正是根据这份记录清点的。',
  },
  limits: {
    title: '这项核对不能证明什么',
    list: ['选票内容是否符合本意：选票在投票人的设备上密封，只有投票人知道。', '选票是谁的：记录里没有姓名。'],
  },
  notYet: {
    code: {
      title: '公开记录中暂时没有这个编号',
      text: '可能是编号有误，也可能是选票还在票箱里等候列入。为了不让人知道谁在何时投票，选票每满 64 张或以上才一并列入记录。',
    },
    file: {
      title: '选票在票箱里，尚未列入公开记录',
      text: '回执属实。为了不让人知道谁在何时投票，选票每满 64 张或以上才一并列入记录。',
    },
    come: (when) => `最迟在投票结束时列入，预定时间为 ${when}。届时可以再次核对，之前也可以随时查看。`,
    soon: '投票已经结束，最后一批选票正在列入记录。请在几分钟后再次查看。',
  },
  missing: {
    code: {
      title: '公开记录中没有这个编号的选票',
      text: (size) => `投票已经清点，记录已经完整，共有 ${size} 张选票。请逐个字母核对编号。如果无误，请向主办方出示您的回执：连同可以在这里保存的资料，就是证据。`,
    },
    file: {
      title: '公开记录中缺少这张选票',
      text: (size) => `回执属实，投票已经清点，但记录的 ${size} 张选票中没有这一张。这种情况绝不应该发生。请保存证据，交给主办方和您信任的人查看。`,
    },
  },
  wrong: {
    title: '这份证明不成立',
    text: '公开记录给出的资料什么也证明不了。请换一个网络再次查看。如果仍然如此，请保存证据，交给主办方和您信任的人查看。',
  },
  forged: {
    title: '这个文件不是本次投票的真实回执',
    text: '文件内容没有本次投票的签名：不是被更改过，就是并非由本次投票签发。如果您有写在纸上的编号，请改为核对编号。',
  },
  otherKey: {
    title: '这份回执的密钥与本次投票的不同',
    text: '两者之中必有一个不真实。请换一个网络再次查看。如果仍然如此，请保存证据，交给主办方和您信任的人查看。',
  },
  save: '保存证据',
  saved: '证据已保存。',
  about: '投票服务就一份回执作出的回应，以及不妥之处。',
  again: '再次查看',
  another: '核对其他回执',
  correct: '更正编号',
}

export const checkWords: Record<Lang, CheckWords> = { 'zh-Hant-HK': zhHantHK, 'zh-Hans': zhHans, en }
