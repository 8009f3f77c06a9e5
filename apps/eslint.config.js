// One lint for every page and its tests.
import js from '@eslint/js'
import ts from 'typescript-eslint'

export default ts.config(
  { ignores: ['**/node_modules/**', '**/dist/**', '**/*.gen.ts', 'api-server/**'] },
  js.configs.recommended,
  {
    files: ['**/*.{ts,tsx}'],
    extends: [ts.configs.strictTypeChecked],
    languageOptions: { parserOptions: { projectService: true } },
    rules: {
      // Places in arrays are checked by noUncheckedIndexedAccess; a `!` there is a claim to read, not a slip.
      '@typescript-eslint/no-non-null-assertion': 'off',
      '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true }],
      // `return go(step)` ends a function and says where it leads.
      '@typescript-eslint/no-confusing-void-expression': 'off',
      '@typescript-eslint/no-unused-vars': ['error', { varsIgnorePattern: '^_', argsIgnorePattern: '^_' }],
      'no-restricted-properties': ['error', { object: 'window', property: 'localStorage', message: 'Nothing outlives the tab.' }],
      'no-restricted-globals': ['error', { name: 'localStorage', message: 'Nothing outlives the tab.' }],
    },
  },
  {
    files: ['**/*.{js,mjs}'],
    languageOptions: { globals: { process: 'readonly', console: 'readonly', URL: 'readonly', fetch: 'readonly', setTimeout: 'readonly', clearTimeout: 'readonly', document: 'readonly', getComputedStyle: 'readonly', location: 'readonly', sessionStorage: 'readonly', localStorage: 'readonly', window: 'readonly', Buffer: 'readonly', AbortController: 'readonly', AbortSignal: 'readonly' } },
  },
)
