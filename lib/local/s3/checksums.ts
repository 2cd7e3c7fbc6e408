import { createHash } from 'node:crypto';
import { crc32 } from 'node:zlib';

export type ChecksumAlgorithm = 'CRC32' | 'CRC32C' | 'CRC64NVME' | 'SHA1' | 'SHA256';

export const CHECKSUM_ALGORITHMS: readonly ChecksumAlgorithm[] = ['CRC32', 'CRC32C', 'CRC64NVME', 'SHA1', 'SHA256'];

export interface RunningChecksum {
  update(bytes: Uint8Array): void;
  digest(): Buffer;
}

export function checksumHeader(algorithm: ChecksumAlgorithm): string {
  return `x-amz-checksum-${algorithm.toLowerCase()}`;
}

/** Name of the element that carries this checksum in XML documents, such as `ChecksumCRC32`. */
export function checksumElement(algorithm: ChecksumAlgorithm): string {
  return `Checksum${algorithm}`;
}

export function digestBytes(algorithm: ChecksumAlgorithm): number {
  return { CRC32: 4, CRC32C: 4, CRC64NVME: 8, SHA1: 20, SHA256: 32 }[algorithm];
}

export function isCrc(algorithm: ChecksumAlgorithm): boolean {
  return algorithm.startsWith('CRC');
}

export function createChecksum(algorithm: ChecksumAlgorithm): RunningChecksum {
  if (algorithm === 'CRC32') return createCrc32();
  if (algorithm === 'CRC32C') return createCrc32c();
  if (algorithm === 'CRC64NVME') return createCrc64();
  const hash = createHash(algorithm.toLowerCase());
  return { update: (bytes) => void hash.update(bytes), digest: () => hash.digest() };
}

function createCrc32(): RunningChecksum {
  let crc = 0;
  return {
    update(bytes) {
      crc = crc32(bytes, crc);
    },
    digest: () => bigEndian(crc),
  };
}

/** Castagnoli polynomial, reflected. */
const CRC32C_TABLE = Uint32Array.from({ length: 256 }, (_, index) => {
  let crc = index;
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
  return crc >>> 0;
});

function createCrc32c(): RunningChecksum {
  let crc = 0xffffffff;
  return {
    update(bytes) {
      let value = crc;
      for (let i = 0; i < bytes.length; i++) {
        value = (CRC32C_TABLE[(value ^ (bytes[i] as number)) & 0xff] as number) ^ (value >>> 8);
      }
      crc = value;
    },
    digest: () => bigEndian((crc ^ 0xffffffff) >>> 0),
  };
}

/** The reflected CRC-64/NVME polynomial (NVM Express, 64b CRC), in 32-bit halves because BigInt is too slow per byte. */
const CRC64_POLYNOMIAL = { high: 0x9a6c9329, low: 0xac4bc9b5 };
const CRC64_HIGH = new Uint32Array(256);
const CRC64_LOW = new Uint32Array(256);
for (let index = 0; index < 256; index++) {
  let high = 0;
  let low = index;
  for (let bit = 0; bit < 8; bit++) {
    const carry = low & 1;
    low = ((low >>> 1) | (high << 31)) >>> 0;
    high = high >>> 1;
    if (carry) {
      high = (high ^ CRC64_POLYNOMIAL.high) >>> 0;
      low = (low ^ CRC64_POLYNOMIAL.low) >>> 0;
    }
  }
  CRC64_HIGH[index] = high;
  CRC64_LOW[index] = low;
}

function createCrc64(): RunningChecksum {
  let high = -1;
  let low = -1;
  return {
    update(bytes) {
      let h = high;
      let l = low;
      for (let i = 0; i < bytes.length; i++) {
        const index = (l ^ (bytes[i] as number)) & 0xff;
        l = ((l >>> 8) | (h << 24)) ^ (CRC64_LOW[index] as number);
        h = (h >>> 8) ^ (CRC64_HIGH[index] as number);
      }
      high = h;
      low = l;
    },
    digest: () => Buffer.concat([bigEndian(~high >>> 0), bigEndian(~low >>> 0)]),
  };
}

function bigEndian(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}
