import { expect, test } from 'vitest';
import { endpointConcerns, isS3Host } from '../../lib/config/endpoints.ts';

const hidden = [
  'localhost',
  'localhost.',
  'printer',
  'storage.internal',
  'storage.local.',
  '127.0.0.1',
  '127.1',
  '2130706433',
  '0x7f.1',
  '0177.0.0.1',
  '0.0.0.0',
  '10.1.2.3',
  '172.31.255.255',
  '192.168.0.1',
  '100.64.0.1',
  '169.254.169.254',
  '198.18.0.1',
  '255.255.255.255',
  '[::1]',
  '[::]',
  '[fe80::1]',
  '[fd00:ec2::254]',
  '[ff02::1]',
  '[::ffff:169.254.169.254]',
  '[::a9fe:a9fe]',
  '[::127.0.0.1]',
  '[::ffff:0:a9fe:a9fe]',
  '[64:ff9b::a9fe:a9fe]',
  '[64:ff9b:1::a00:1]',
  '[64:ff9b:1:a9fe:a9:fe00::]',
  '[2001:0:5ef5:79fb:0:5afe:5601:5601]',
  'server.localdomain',
  '\uff11\uff12\uff17.0.0.1',
  '127.0.0.1.',
  '[2002:a9fe:a9fe::1]',
];

test.each(hidden)('https://%s is not on the public internet', (host) => {
  expect(endpointConcerns(`https://${host}`)).toEqual(['loopback, private or link-local']);
});

test.each([
  's3.us-west-004.backblazeb2.com',
  's3.example.com.',
  '8.8.8.8',
  '172.32.0.1',
  '[2606:4700::1]',
  '[64:ff9b::808:808]',
  '[2002:808:808::1]',
])('https://%s is', (host) => {
  expect(endpointConcerns(`https://${host}`)).toEqual([]);
});

test('http is a concern of its own', () => {
  expect(endpointConcerns('http://127.0.0.1:9000')).toEqual(['not https', 'loopback, private or link-local']);
});

test.each([
  's3.amazonaws.com',
  's3.eu-central-1.amazonaws.com',
  's3-eu-west-1.amazonaws.com',
  's3.dualstack.us-east-1.amazonaws.com',
  's3-fips.us-gov-west-1.amazonaws.com',
  's3-fips.dualstack.us-east-1.amazonaws.com',
  'my-bucket.s3.eu-central-1.amazonaws.com',
  's3-accelerate.amazonaws.com',
  's3.cn-north-1.amazonaws.com.cn',
  'vpce-0a1b-c2d3.s3.us-east-1.vpce.amazonaws.com',
  'bucket.vpce-0a1b-c2d3.s3.us-east-1.vpce.amazonaws.com',
])('%s is a host of S3', (host) => {
  expect(isS3Host(host)).toBe(true);
});

test.each([
  'abc.execute-api.us-east-1.amazonaws.com',
  'ec2-1-2-3-4.compute-1.amazonaws.com',
  's3.example.com',
  's3.amazonaws.com.example.com',
  'evils3.amazonaws.com',
  'lb-s3.us-east-1.elb.amazonaws.com',
  'x.s3-website.eu-central-1.amazonaws.com',
])('%s is none', (host) => {
  expect(isS3Host(host)).toBe(false);
});
