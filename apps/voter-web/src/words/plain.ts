// The words that only the pages without scripts have. The API server serves those, with these words and
// the page's own: build/plain.mjs writes both into apps/api-server/plain.

import type { Lang } from '../api/types.ts'

export interface PlainWords {
  plain: {
    title: string
    /** Whose clock the plain pages show: they do not know the voter's. */
    zone: string
    withScripts: string
    /** Before anything is asked, where the poll lets the server seal. */
    sealed: string
    sealedText: [string, string, string]
    /** Beside the ballot and its last button. */
    sealing: string
    /** Where the poll does not. */
    refused: string
    refusedText: string
    who: string
    captcha: string
    captchaHint: string
    captchaLabel: string
    captchaImage: string
    hear: { en: string; zh: string }
    another: string
    captchaFaults: { empty: string; wrong: string; expired: string; spent: string }
    sent: string
    sentText: string
    notYet: string
    resendText: string
    ballot: string
    cookie: string
    over: string
    queue: string
    queueGo: string
    placeLost: string
    clearText: string
    unknown: string
    again: string
    howTo: string[]
  }
}

const en: PlainWords = {
  plain: {
    title: 'Voting without JavaScript',
    zone: 'Hong Kong time',
    withScripts: 'Vote with JavaScript instead',
    sealed: 'On these pages, the voting server sees your vote',
    sealedText: [
      'With JavaScript, your ballot is sealed on your own device. Without it your browser cannot do that, so the voting server seals your ballot for you.',
      'For that moment the server knows who you are and how you vote. It writes neither down, but whoever controls the server could.',
      'If you do not want that, turn JavaScript on or use another browser.',
    ],
    sealing: 'The voting server will see these choices while it seals your ballot.',
    refused: 'This poll needs JavaScript',
    refusedText:
      'In this poll every ballot is sealed on the voter’s own device, which a browser cannot do without JavaScript. Please turn it on, or use another browser.',
    who: 'Who are you?',
    captcha: 'Which six digits do you see or hear?',
    captchaHint: 'This keeps programs out. Look at the picture or play a recording; both say the same six digits.',
    captchaLabel: 'Six digits',
    captchaImage: 'Picture with six digits. The recordings below say them.',
    hear: { en: 'Recording in English', zh: 'Recording in Mandarin' },
    another: 'Show me other digits',
    captchaFaults: {
      empty: 'Enter the six digits',
      wrong: 'Those were not the digits shown. Enter these new ones',
      expired: 'The digits were shown too long ago. Enter these new ones',
      spent: 'Those digits had been used already. Enter these new ones',
    },
    sent: 'I have sent the SMS',
    sentText: 'Then press this button. The answer can take half a minute.',
    notYet: 'Your SMS has not arrived yet. This page asks again by itself every few seconds.',
    resendText: 'Before that time the button only tells you how long to wait.',
    ballot: 'Your ballot',
    cookie: 'This page has lost track of you: too much time went by, or your browser refuses cookies. Nothing is kept on your device but one cookie, until you close the browser.',
    over: 'The time for your ballot is over. Nothing has been recorded, and you have not voted. You can start again at once.',
    queue: 'Please keep this page open: closing it costs you your place. When the time is over, press the button. Pressing it earlier does no harm.',
    queueGo: 'See whether it is my turn',
    placeLost: 'Your place in the queue has run out. Enter these new digits, and you get a new one',
    clearText: 'On a phone or computer that others use, clear it before you go. Write the code down or print this page first.',
    unknown: 'Press the button. The same sealed ballot is sent again; it can be counted only once.',
    again: 'Send the same ballot again',
    howTo: [
      'Open this poll’s page at any time in a browser with JavaScript, and choose “Check a receipt”.',
      'When the result is published, so are all sealed ballots, each with its code.',
      'Look for your code among them. If it is there, your ballot was counted.',
    ],
  },
}

const zhHantHK: PlainWords = {
  plain: {
    title: '不用 JavaScript 投票',
    zone: '香港時間',
    withScripts: '改用 JavaScript 投票',
    sealed: '使用這些頁面，投票系統會看到你的選擇',
    sealedText: [
      '使用 JavaScript 時，選票在你的裝置上密封。沒有 JavaScript，瀏覽器便做不到，因此由投票系統的伺服器代你密封選票。',
      '密封的一刻，伺服器知道你是誰，以及你怎樣投票。伺服器不會記下兩者，但控制伺服器的人有能力這樣做。',
      '如你不希望這樣，請開啟 JavaScript，或改用其他瀏覽器。',
    ],
    sealing: '伺服器密封選票時，會看到以下選擇。',
    refused: '這項投票需要 JavaScript',
    refusedText: '在這項投票中，每張選票都在投票者自己的裝置上密封，瀏覽器沒有 JavaScript 便做不到。請開啟 JavaScript，或改用其他瀏覽器。',
    who: '你是誰？',
    captcha: '你看到或聽到哪六個數字？',
    captchaHint: '用來阻擋電腦程式。請看圖片或播放錄音，兩者是相同的六個數字。',
    captchaLabel: '六個數字',
    captchaImage: '一張有六個數字的圖片，下面的錄音會讀出這些數字。',
    hear: { en: '英語錄音', zh: '普通話錄音' },
    another: '換另一組數字',
    captchaFaults: {
      empty: '請輸入六個數字',
      wrong: '與剛才的數字不符，請輸入這組新的數字',
      expired: '剛才的數字已過時，請輸入這組新的數字',
      spent: '剛才的數字已用過，請輸入這組新的數字',
    },
    sent: '我已發出短訊',
    sentText: '然後按這個按鈕。最長可能要等半分鐘。',
    notYet: '仍未收到你的短訊。本頁每隔數秒會自動再查詢。',
    resendText: '時間未到便按，只會告訴你還要等多久。',
    ballot: '你的選票',
    cookie: '本頁已無法辨認你：可能相隔太久，或瀏覽器不接受 Cookie。在你關閉瀏覽器之前，你的裝置上只會存放一個 Cookie。',
    over: '填寫選票的時限已過。系統沒有記錄任何資料，你仍未投票，可以立即重新開始。',
    queue: '請不要關閉本頁，否則會失去位置。時間到了，請按按鈕；提早按亦無妨。',
    queueGo: '看看是否輪到我',
    placeLost: '你在隊中的位置已經失效。請輸入這組新的數字，以取得新的位置',
    clearText: '如與他人共用電話或電腦，請在離開前清除資料。請先抄下編號或列印本頁。',
    unknown: '請按按鈕。系統會再次送出同一張密封選票，這張選票只會計算一次。',
    again: '再次送出同一張選票',
    howTo: [
      '你可以隨時用有 JavaScript 的瀏覽器開啟這項投票的網頁，選擇「核對收據」。',
      '公布結果時，會同時公布所有密封選票及其編號。',
      '在名單中找出你的編號。如在其中，你的選票已獲點算。',
    ],
  },
}

const zhHans: PlainWords = {
  plain: {
    title: '不用 JavaScript 投票',
    zone: '香港时间',
    withScripts: '改用 JavaScript 投票',
    sealed: '使用这些页面，投票服务会看到您的选择',
    sealedText: [
      '使用 JavaScript 时，选票在您的设备上密封。没有 JavaScript，浏览器就做不到，因此由投票服务器代您密封选票。',
      '密封的那一刻，服务器知道您是谁，也知道您怎样投票。服务器不会记下这些，但控制服务器的人有能力这样做。',
      '如果您不希望这样，请启用 JavaScript，或换一个浏览器。',
    ],
    sealing: '服务器密封选票时，会看到以下选择。',
    refused: '这项投票需要 JavaScript',
    refusedText: '在这项投票中，每张选票都在投票人自己的设备上密封，浏览器没有 JavaScript 就做不到。请启用 JavaScript，或换一个浏览器。',
    who: '您是谁？',
    captcha: '您看到或听到哪六个数字？',
    captchaHint: '用来阻挡计算机程序。请看图片或播放录音，两者是相同的六个数字。',
    captchaLabel: '六个数字',
    captchaImage: '一张有六个数字的图片，下面的录音会读出这些数字。',
    hear: { en: '英语录音', zh: '普通话录音' },
    another: '换一组数字',
    captchaFaults: {
      empty: '请输入六个数字',
      wrong: '与刚才的数字不符，请输入这组新的数字',
      expired: '刚才的数字已过时，请输入这组新的数字',
      spent: '刚才的数字已用过，请输入这组新的数字',
    },
    sent: '我已发出短信',
    sentText: '然后按这个按钮。最长可能要等半分钟。',
    notYet: '还没有收到您的短信。本页每隔几秒会自动再次查询。',
    resendText: '时间未到就按，只会告诉您还要等多久。',
    ballot: '您的选票',
    cookie: '本页已无法识别您：可能相隔太久，或浏览器不接受 Cookie。在您关闭浏览器之前，您的设备上只会存放一个 Cookie。',
    over: '填写选票的时间已过。系统没有记录任何内容，您还没有投票，可以立即重新开始。',
    queue: '请不要关闭本页面，否则会失去位置。时间到了，请按按钮；提前按也没关系。',
    queueGo: '看看是否轮到我',
    placeLost: '您在队中的位置已经失效。请输入这组新的数字，以取得新的位置',
    clearText: '如果与他人共用手机或电脑，请在离开前清除数据。请先抄下编号或打印本页。',
    unknown: '请按按钮。系统会再次发送同一张密封选票，这张选票只会计算一次。',
    again: '再次发送同一张选票',
    howTo: [
      '您可以随时用有 JavaScript 的浏览器打开这项投票的网页，选择“核对回执”。',
      '公布结果时，会同时公布所有密封选票及其编号。',
      '在名单中找出您的编号。如果在其中，您的选票已经计入。',
    ],
  },
}

export const plainWords: Record<Lang, PlainWords> = { 'zh-Hant-HK': zhHantHK, 'zh-Hans': zhHans, en }
