import { awsAdvice, awsAnswer } from '../base/aws-advice.ts';

/** What the encryption SDK says when no key opened a message: one entry for each, with the stack where it was thrown. */
const ofEachKey = /Error #\d+\s+(\w+): ([^\n]*)/;

/** Why content could not be encrypted or decrypted with a key, in one line, and what to look at. */
export function cipherProblem(error: unknown, keyId: string): string {
  const text = error instanceof Error ? error.message : String(error);
  const [, name, answer] = ofEachKey.exec(text) ?? [];
  if (name !== undefined) return refused(keyId, `${name}: ${answer!.trim()}`, awsAdvice(name, answer!));
  if (text.includes('unencryptedDataKey has not been set')) return `key "${keyId}" does not open it`;
  const isOfAws = error instanceof Error && '$metadata' in error;
  if (isOfAws) return refused(keyId, awsAnswer(error), awsAdvice(error.name, text));
  return text.split('\n')[0]!;
}

function refused(keyId: string, answer: string, advice: string | undefined): string {
  const toCheck = advice ?? 'check that the key exists and is enabled, and that this process may use it';
  return `key "${keyId}" cannot be used (${answer}); ${toCheck}`;
}
