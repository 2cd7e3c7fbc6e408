import { S3Error } from './errors.ts';

/** An element's content: text, children by name (an array repeats the name), or nothing. */
export type XmlContent = string | number | boolean | undefined | { [name: string]: XmlContent | XmlContent[] };

export interface XmlElement {
  name: string;
  text: string;
  children: XmlElement[];
}

const NAMESPACE = 'http://s3.amazonaws.com/doc/2006-03-01/';
const MAX_DEPTH = 32;

/** `content` in a list is written one after the other. */
export function xmlDocument(root: string, content: XmlContent | XmlContent[]): string {
  const body = [content].flat().map(inner).join('');
  return `<?xml version="1.0" encoding="UTF-8"?>\n<${root} xmlns="${NAMESPACE}">${body}</${root}>`;
}

export function errorDocument(content: XmlContent): string {
  return `<?xml version="1.0" encoding="UTF-8"?>\n<Error>${inner(content)}</Error>`;
}

function inner(content: XmlContent): string {
  if (content === undefined) return '';
  if (typeof content !== 'object') return escapeXml(String(content));
  let out = '';
  for (const [name, value] of Object.entries(content)) {
    for (const one of Array.isArray(value) ? value : [value]) {
      if (one !== undefined) out += `<${name}>${inner(one)}</${name}>`;
    }
  }
  return out;
}

/** Control characters become character references, as AWS sends them, although XML 1.0 has no way to hold most of them. */
function escapeXml(text: string): string {
  return text.replace(/[&<>"\p{Cc}\ufffe\uffff]/gu, (char) => {
    if (char === '&') return '&amp;';
    if (char === '<') return '&lt;';
    if (char === '>') return '&gt;';
    if (char === '"') return '&quot;';
    return `&#x${char.charCodeAt(0).toString(16)};`;
  });
}

/** Parses a request document. No DTDs, no external entities, bounded depth; anything else is MalformedXML. */
export function parseXml(bytes: Buffer): XmlElement {
  const source = decodeUtf8(bytes);
  const token =
    /<\?[\s\S]*?\?>|<!--[\s\S]*?-->|<!\[CDATA\[([\s\S]*?)\]\]>|<\/([^\s<>/]+)\s*>|<([^\s<>/!?]+)((?:\s+[^\s=<>/]+\s*=\s*(?:"[^"<]*"|'[^'<]*'))*)\s*(\/?)>|([^<]+)/y;
  const root: XmlElement = { name: '', text: '', children: [] };
  const open: XmlElement[] = [root];
  while (token.lastIndex < source.length) {
    const match = token.exec(source);
    const parent = open.at(-1);
    if (!match || !parent) throw new S3Error('MalformedXML');
    const [, cdata, closing, opening, , selfClosing, text] = match;
    if (opening !== undefined) {
      if (open.length > MAX_DEPTH) throw new S3Error('MalformedXML');
      const element: XmlElement = { name: localName(opening), text: '', children: [] };
      parent.children.push(element);
      if (!selfClosing) open.push(element);
    } else if (closing !== undefined) {
      if (open.length === 1 || parent.name !== localName(closing)) throw new S3Error('MalformedXML');
      open.pop();
    } else {
      const piece = cdata ?? (text === undefined ? '' : unescapeXml(text));
      if (open.length === 1 && piece.trim() !== '') throw new S3Error('MalformedXML');
      parent.text += piece;
    }
  }
  const [document] = root.children;
  if (open.length !== 1 || root.children.length !== 1 || !document) throw new S3Error('MalformedXML');
  return document;
}

export function childrenOf(element: XmlElement, name: string): XmlElement[] {
  return element.children.filter((child) => child.name === name);
}

export function textOf(element: XmlElement, name: string): string | undefined {
  return element.children.find((child) => child.name === name)?.text;
}

function decodeUtf8(bytes: Buffer): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    throw new S3Error('MalformedXML');
  }
}

function localName(name: string): string {
  return name.slice(name.indexOf(':') + 1);
}

function unescapeXml(text: string): string {
  if (!text.includes('&')) return text;
  return text.replace(/&([^;]*;?)/g, (_, entity: string) => {
    const named = NAMED_ENTITIES[entity];
    if (named !== undefined) return named;
    const numeric = /^#(?:x([0-9a-fA-F]{1,6})|([0-9]{1,7}));$/.exec(entity);
    const codePoint = numeric ? Number.parseInt(numeric[1] ?? numeric[2] ?? '', numeric[1] ? 16 : 10) : Number.NaN;
    if (!(codePoint <= 0x10ffff) || (codePoint >= 0xd800 && codePoint <= 0xdfff)) throw new S3Error('MalformedXML');
    return String.fromCodePoint(codePoint);
  });
}

const NAMED_ENTITIES: Record<string, string> = { 'amp;': '&', 'lt;': '<', 'gt;': '>', 'quot;': '"', 'apos;': "'" };
