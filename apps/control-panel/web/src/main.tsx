import { render } from 'preact';
import { App } from './app';
import './styles/index.css';
import { applyTheme, rememberedTheme } from './theme';

applyTheme(rememberedTheme());
render(<App />, document.getElementById('app')!);
