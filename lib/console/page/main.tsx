import { render } from 'preact';
import { follow } from './api.ts';
import { App } from './app.tsx';
import { keepRoute } from './route.ts';

keepRoute();
follow();
const app = document.getElementById('app')!;
app.replaceChildren();
render(<App />, app);
