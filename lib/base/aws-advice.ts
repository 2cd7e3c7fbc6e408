interface AwsError {
  readonly name?: unknown;
  readonly message?: unknown;
  readonly $metadata?: { readonly httpStatusCode?: number };
}

/**
 * What AWS answered, in one line. Of an answer that is none of AWS's own, such as a proxy's, the SDK says `UnknownError`:
 * then only its status says something.
 */
export function awsAnswer(error: unknown): string {
  const { name, message, $metadata }: AwsError = typeof error === 'object' && error !== null ? error : {};
  const [line = ''] = String(message ?? error).split('\n');
  const isMute = /^Unknown(Error)?$/.test(String(name)) || /^(UnknownError|)$/.test(line.trim());
  if (!isMute) return name === 'Error' ? line : `${name}: ${line}`;
  const status = $metadata?.httpStatusCode;
  return status === undefined ? 'it gave no reason' : `it answered ${status} without a reason`;
}

/** Which key, region or clock to look at; undefined where the answer shows nothing of that. */
export function awsAdvice(name: string, text: string): string | undefined {
  if (
    /^(InvalidSignature|RequestExpired|RequestTimeTooSkewed)/.test(name) &&
    /expired|not yet current|skew/i.test(text)
  )
    return 'set the clock of this machine';
  if (name.startsWith('InvalidSignature') || name.startsWith('IncompleteSignature'))
    return 'check AWS_SECRET_ACCESS_KEY, and that AWS_REGION is the right region';
  if (name.startsWith('ExpiredToken')) return 'these are temporary credentials that have expired; get new ones';
  if (name === 'UnrecognizedClientException' || name === 'InvalidClientTokenId')
    return 'check AWS_ACCESS_KEY_ID and AWS_REGION';
  return name === 'CredentialsProviderError'
    ? 'this process has no AWS credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE'
    : undefined;
}
