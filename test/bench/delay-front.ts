/**
 * A process of its own that puts time between a client and a server, as distance does: `delay-front.ts <ms> <endpoint>`. What a
 * client sends arrives that much later, on as many connections as it likes; answers come at once.
 */
import { connect, createServer } from 'node:net';

const [ms, endpoint] = process.argv.slice(2) as [string, string];
const { hostname, port } = new URL(endpoint);
const server = createServer((client) => {
  const onward = connect(Number(port), hostname);
  client.setNoDelay(true);
  onward.setNoDelay(true);
  client.on('data', (chunk) => setTimeout(() => onward.write(chunk), Number(ms)));
  client.on('close', () => setTimeout(() => onward.destroy(), Number(ms)));
  onward.on('close', () => client.destroy());
  onward.on('error', () => client.destroy());
  client.on('error', () => onward.destroy());
  onward.pipe(client, { end: false });
});
server.listen(0, '127.0.0.1', () => {
  const { port: own } = server.address() as { port: number };
  process.send!(`http://127.0.0.1:${own}`);
});
process.on('disconnect', () => process.exit(0));
