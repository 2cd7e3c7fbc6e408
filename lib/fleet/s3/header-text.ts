/** Thrown for text that no header can carry: it is refused before anything is sent. */
export class UnsendableHeaderError extends Error {
  override readonly name = 'UnsendableHeaderError';
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: those are the characters it looks for
const uncarried = /[\u0000-\u001f\u007f]|^ | $/;
const encodedWord = /=\?([^?\s]+)\?([BbQq])\?([^?\s]*)\?=/g;
const encodedWords = /^=\?[^?\s]+\?[BbQq]\?[^?\s]*\?=(?:\s+=\?[^?\s]+\?[BbQq]\?[^?\s]*\?=)*$/;

/**
 * User metadata as it is sent. Whatever text it is, it comes back as itself: tabs and other control characters, outer
 * blanks, and what would be taken for an encoded word travel as one (RFC 2047); anything else goes as it is, in UTF-8.
 */
export function sentMetadata(text: string): string {
  if (!text.isWellFormed()) throw new UnsendableHeaderError(`${JSON.stringify(text)} is not valid Unicode`);
  const arrivesAsItIs = !uncarried.test(text) && decodedWords(text) === text;
  return arrivesAsItIs ? text : `=?UTF-8?B?${Buffer.from(text).toString('base64')}?=`;
}

/** A content header as it is sent: white space that HTTP and signatures would fold is folded here. */
export function sentHeader(text: string): string {
  if (!text.isWellFormed()) throw new UnsendableHeaderError(`${JSON.stringify(text)} is not valid Unicode`);
  return text.replace(/[ \t\r\n]+/g, ' ').trim();
}

/** Node sends each character as one byte; what is signed is the text in UTF-8, and so is what is sent. */
export function wireText(text: string): string {
  return isAscii(text) ? text : Buffer.from(text, 'utf8').toString('latin1');
}

/** Node hands on each byte as one character; bytes that are UTF-8 are read as that. */
export function receivedText(characters: string): string {
  if (isAscii(characters)) return characters;
  const bytes = Buffer.from(characters, 'latin1');
  // Some other than Node's parser may have read it as text already.
  if (bytes.toString('latin1') !== characters) return characters;
  return decoded('utf-8', bytes) ?? characters;
}

/** User metadata as it was sent: some backends answer encoded words for what was sent to them in UTF-8. */
export function receivedMetadata(characters: string): string {
  return decodedWords(receivedText(characters));
}

/** A text that is encoded words from end to end, decoded; any other as it is. */
function decodedWords(text: string): string {
  if (!encodedWords.test(text)) return text;
  const words = [...text.matchAll(encodedWord)].map(([, charset = '', encoding = '', word = '']) =>
    decoded(charset, encoding.toUpperCase() === 'B' ? Buffer.from(word, 'base64') : quotedPrintable(word)),
  );
  return words.includes(undefined) ? text : words.join('');
}

function quotedPrintable(word: string): Buffer {
  const characters = word
    .replaceAll('_', ' ')
    .replace(/=([0-9A-Fa-f]{2})/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
  return Buffer.from(characters, 'latin1');
}

/** Undefined for a character set that is not known, or bytes that are none of its text. */
function decoded(charset: string, bytes: Uint8Array): string | undefined {
  try {
    return new TextDecoder(charset, { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return undefined;
  }
}

function isAscii(text: string): boolean {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: all of ASCII
  return /^[\u0000-\u007f]*$/.test(text);
}
