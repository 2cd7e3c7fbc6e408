import { expect, test } from 'vitest';
import { awsAdvice, awsAnswer } from '../../lib/base/aws-advice.ts';
import { systemClock } from '../../lib/base/clock.ts';
import { failureOf } from '../../lib/cli/failure.ts';
import { cipherProblem } from '../../lib/process/cipher-problem.ts';
import { createCredentialResolver } from '../../lib/process/credentials.ts';

const named = (name: string, message: string, status = 400) =>
  Object.assign(new Error(message), { name, $metadata: { httpStatusCode: status } });

const kms = 'arn:aws:kms:eu-central-1:123456789012:key/1';

test.each([
  [
    // As the encryption SDK joins what each key was answered.
    new Error(
      'Unable to decrypt data key and one or more KMS CMKs had an error. \n  Error #1 \n AccessDeniedException: User: x is not authorized to perform: kms:Decrypt\n    at throwDefaultError (/a/b.js:1:2)\n',
    ),
    `key "${kms}" cannot be used (AccessDeniedException: User: x is not authorized to perform: kms:Decrypt); check that the key exists and is enabled, and that this process may use it`,
  ],
  [
    named('DisabledException', `${kms} is disabled.`),
    `(DisabledException: ${kms} is disabled.); check that the key exists`,
  ],
  [named('InvalidSignatureException', 'Signature expired: 1 is now earlier than 2'), 'set the clock of this machine'],
  [named('Unknown', 'UnknownError', 403), '(it answered 403 without a reason)'],
  [new Error('unencryptedDataKey has not been set'), `key "${kms}" does not open it`],
])(
  'why content cannot be encrypted or decrypted is one line, without a stack, about a key: %s [messages-name-the-cause]',
  (error, sentence) => {
    const problem = cipherProblem(error, kms);
    expect(problem).toContain(sentence);
    expect(problem).not.toMatch(/\n|\.js:|UnknownError/);
  },
);

test.each([
  [named('AccessDeniedException', 'no'), 'AccessDeniedException: no', 'that this process may read it'],
  [named('UnrecognizedClientException', 'bad token'), 'bad token', 'check AWS_ACCESS_KEY_ID and AWS_REGION'],
  [named('UnknownError', 'UnknownError', 502), 'it answered 502 without a reason', 'the region that its ARN names'],
  [new Error('it is not JSON'), '(it is not JSON)', ''],
])(
  'a secret that cannot be read is named, with what to look at: %s [messages-name-the-cause]',
  async (error, answer, advice) => {
    const secretArn = 'arn:aws:secretsmanager:eu-central-1:1:secret:b2';
    const credentials = createCredentialResolver({
      env: {},
      clock: systemClock,
      readSecret: () => Promise.reject(error),
    });
    const backend = { name: 'b2', region: 'us-east-1' };
    const refused = await credentials.resolve(backend, { secretArn }).catch(({ message }: Error) => message);
    expect(refused).toContain(`Cannot open backend "b2": its secret "${secretArn}" could not be read`);
    expect(refused).toContain(answer);
    expect(refused).toContain(advice);
    expect(refused).not.toContain('UnknownError');
  },
);

test('whatever AWS answers, nobody is told of an unknown error alone', () => {
  expect(awsAnswer(named('UnknownError', 'UnknownError', 404))).toBe('it answered 404 without a reason');
  expect(awsAnswer(named('Unknown', ''))).toBe('it answered 400 without a reason');
  expect(failureOf(named('UnknownError', 'UnknownError', 503))).toMatchObject({
    sentence: 'it answered 503 without a reason',
    exitCode: 1,
  });
  expect(awsAdvice('ExpiredTokenException', '')).toContain('get new ones');
});
