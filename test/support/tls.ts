import { type AddressInfo, connect, type Socket } from 'node:net';
import { createServer, type TLSSocket } from 'node:tls';

/** Of tests alone, for the name "localhost", signed by itself: nobody trusts it who is not told to. */
const key = `-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg378MSh1gH53B4DKD
zZTND1Tw8kBlcEPipmTyGwmsvPmhRANCAARcwNwduX4W3X9ikIP7xcl4D70i+p4C
8rAoMTfDlM2i4dbG7JAiG4eTfc3Bcd50408OAw/8WIxf9xNfZkXMTkJb
-----END PRIVATE KEY-----`;
export const certificate = `-----BEGIN CERTIFICATE-----
MIIBlTCCATugAwIBAgIUBZXCx7FeEMaCotN/tmPEUehFZU8wCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJbG9jYWxob3N0MCAXDTI2MTEyODA2NTc1NloYDzIxMjYxMTA0
MDY1NzU2WjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAARcwNwduX4W3X9ikIP7xcl4D70i+p4C8rAoMTfDlM2i4dbG7JAiG4eT
fc3Bcd50408OAw/8WIxf9xNfZkXMTkJbo2kwZzAdBgNVHQ4EFgQU4bAO8xWesAi5
wjhKAfuth8nzFX0wHwYDVR0jBBgwFoAU4bAO8xWesAi5wjhKAfuth8nzFX0wDwYD
VR0TAQH/BAUwAwEB/zAUBgNVHREEDTALgglsb2NhbGhvc3QwCgYIKoZIzj0EAwID
SAAwRQIgf9E4iBZaNPtmWhce0RGRoLitfEnRxQAVHOFuSsqNahECIQDTzWotJ5ax
HJuPv2m6RaS+RNTN35eP4/l+2mKCtlty9A==
-----END CERTIFICATE-----`;

export interface TlsFront extends AsyncDisposable {
  readonly port: number;
  /** Connections that came, and of those the ones that went on with an earlier session. */
  readonly connections: () => { all: number; resumed: number };
}

/** A server on this machine that speaks TLS and hands what it reads to one that does not. */
export async function startTlsFront(behind: number): Promise<TlsFront> {
  const open = new Set<Socket | TLSSocket>();
  let [all, resumed] = [0, 0];
  const server = createServer({ key, cert: certificate }, (outside) => {
    all += 1;
    if (outside.isSessionReused()) resumed += 1;
    const inside = connect(behind, '127.0.0.1');
    for (const socket of [outside, inside]) {
      open.add(socket);
      socket
        .on('error', () => {})
        .on('close', () => {
          outside.destroy();
          inside.destroy();
        });
    }
    outside.pipe(inside).pipe(outside);
  });
  server.on('tlsClientError', () => {});
  await new Promise<void>((resolve, reject) => server.once('error', reject).listen(0, '127.0.0.1', resolve));
  return {
    port: (server.address() as AddressInfo).port,
    connections: () => ({ all, resumed }),
    async [Symbol.asyncDispose]() {
      for (const socket of open) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
