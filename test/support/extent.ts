/** `npm test` plays only a part of what is tested at very many points; `vitest run` and `npm run test:all` play all of it. */
export const isWhole = process.env.HOLDFAST_TEST_EXTENT !== 'quick';
