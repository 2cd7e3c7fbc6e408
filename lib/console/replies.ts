import type { ServerResponse } from 'node:http';
import { gzipSync } from 'node:zlib';
import { HoldfastError } from '../client/error.ts';

/** Nothing but what this console serves itself; no page of another may show it in a frame. */
const policy = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "connect-src 'self'",
  "img-src 'self' data:",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ');

const always = {
  'content-security-policy': policy,
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
  'cache-control': 'no-store',
};

/** Begins an answer with the headers that every one of them has. */
export function head(response: ServerResponse, status: number, headers: Readonly<Record<string, string>>): void {
  response.writeHead(status, { ...always, ...headers });
}

export function reply(response: ServerResponse, status: number, type: string, body: string | Buffer): void {
  head(response, status, { 'content-type': type });
  response.end(body);
}

export function replyJson(response: ServerResponse, status: number, document: unknown): void {
  reply(response, status, 'application/json', JSON.stringify(document));
}

/** What was asked for is nothing that there is. */
export class WrongQuestion extends Error {
  override readonly name = 'WrongQuestion';
}

/** How an answer says that there is none, and whose fault that is. */
export function statusOf(error: Error): 400 | 500 {
  const isTheirs = error instanceof WrongQuestion || (error instanceof HoldfastError && error.kind === 'bad-key');
  return isTheirs ? 400 : 500;
}

/** A file of the page, as it is sent: compressed once. */
export interface PageFile {
  readonly type: string;
  readonly zipped: Buffer;
}

export function pageFile(type: string, content: string | Buffer): PageFile {
  return { type, zipped: gzipSync(content, { level: 9 }) };
}

/** Every browser takes gzip. */
export function replyFile(response: ServerResponse, { type, zipped }: PageFile): void {
  head(response, 200, { 'content-type': type, 'content-encoding': 'gzip', 'content-length': String(zipped.length) });
  response.end(zipped);
}

/** The page before its script has run: what is read first is there at the first paint. */
export function pageHtml(token: string): string {
  const asked = `?token=${encodeURIComponent(token)}`;
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Holdfast console</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="/page.css${asked}">
<script type="module" src="/page.js${asked}"></script>
</head>
<body><div id="app"><header class="top"><span class="brand">Holdfast</span></header><main><p class="empty">Reading the fleet …</p></main></div></body>
</html>
`;
}
