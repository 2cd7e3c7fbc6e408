import { createInterface } from 'node:readline/promises';
import type { Session } from './session.ts';

/** `nobody`: there is no terminal, or a program reads what this prints. */
export type Answer = 'yes' | 'no' | 'nobody';

/** Asks a question at the terminal; an end of input is a no. */
export async function ask({ stdin, stderr, isJson }: Session, question: string): Promise<Answer> {
  if (isJson || !('isTTY' in stdin) || stdin.isTTY !== true) return 'nobody';
  const asking = createInterface({ input: stdin, output: stderr });
  const ended = new Promise<string>((resolve) => {
    asking.once('close', () => resolve(''));
  });
  try {
    const answer = await Promise.race([asking.question(question), ended]);
    return /^y(es)?$/i.test(answer.trim()) ? 'yes' : 'no';
  } finally {
    asking.close();
  }
}
