/** `holdfast/testing`: the in-memory metadata store and backend that Holdfast's own tests run on. */
export { createMemoryBackend, type MemoryBackend } from './backend/memory-backend.ts';
export { createMemoryStore, type MemoryStore } from './store/memory-store.ts';
