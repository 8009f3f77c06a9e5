import { render } from 'preact'
import { App } from './app'
import { applyTheme, rememberedTheme } from './theme'
// The tokens come first and by themselves: vite.config.ts adds the choice of light and dark to them.
import '../../../voter-web/src/tokens.css'
import './styles/index.css'

applyTheme(rememberedTheme())
render(<App />, document.getElementById('app')!)
