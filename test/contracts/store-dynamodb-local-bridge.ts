// Runs inside the network namespace: starts DynamoDB Local and leads a Unix socket to its port.
import { spawn } from 'node:child_process';
import { connect, createServer } from 'node:net';
import { dirname, join } from 'node:path';
import { setTimeout } from 'node:timers/promises';

const [socketPath, jar] = process.argv.slice(2) as [string, string];
const port = 8000;
const folder = dirname(jar);
const java = spawn(
  'java',
  ['-Xmx512m', `-Djava.library.path=${join(folder, 'DynamoDBLocal_lib')}`, '-jar', jar].concat([
    '-inMemory',
    '-sharedDb',
    '-disableTelemetry',
    '-port',
    String(port),
  ]),
  { cwd: folder, stdio: 'ignore' },
);
java.once('exit', () => process.exit(1));
process.on('exit', () => java.kill('SIGKILL'));
process.stdin.on('end', () => process.exit(0)).resume();

while (!(await isListening())) await setTimeout(100);
const server = createServer((incoming) => {
  const outgoing = connect(port, '127.0.0.1');
  incoming.pipe(outgoing).pipe(incoming);
  incoming.on('error', () => outgoing.destroy());
  outgoing.on('error', () => incoming.destroy());
});
server.listen(socketPath, () => process.stdout.write('ready\n'));

async function isListening(): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false));
    socket.once('connect', () => socket.destroy());
  });
}
