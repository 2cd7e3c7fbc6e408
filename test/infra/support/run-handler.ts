/** Runs a bundled handler as Lambda does: node run-handler.ts <index.mjs> <event as JSON>. The outcome is the last line. */
const [file, event] = process.argv.slice(2);
const startedAt = Date.now();
const timeoutMs = 900_000;
const context = {
  functionName: 'test',
  functionVersion: '$LATEST',
  invokedFunctionArn: 'arn:aws:lambda:us-east-1:123456789012:function:test',
  memoryLimitInMB: '512',
  awsRequestId: '00000000-0000-0000-0000-000000000000',
  getRemainingTimeInMillis: () => startedAt + timeoutMs - Date.now(),
};
let outcome: unknown;
try {
  const { handler } = await import(file!);
  outcome = { result: await handler(JSON.parse(event!), context) };
} catch (error) {
  outcome = { error: { name: (error as Error).name, message: (error as Error).message } };
}
process.stdout.write(`\n${JSON.stringify(outcome)}\n`, () => process.exit());
