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
    // Scripts of Node whose functions are partly sent into a page.
    languageOptions: {
      globals: Object.fromEntries(
        [
          'process', 'console', 'URL', 'fetch', 'setTimeout', 'clearTimeout',
          'document', 'getComputedStyle', 'location', 'sessionStorage', 'localStorage', 'window',
          'Buffer', 'AbortController', 'AbortSignal', 'history', 'innerWidth', 'performance',
        ].map((name) => [name, 'readonly']),
      ),
    },
    // What is taken out of an object so that the rest is left is not used, and is not meant to be.
    rules: { 'no-unused-vars': ['error', { ignoreRestSiblings: true, varsIgnorePattern: '^_' }] },
  },
)
