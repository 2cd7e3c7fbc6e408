/**
 * Compiling WebAssembly ends on another thread, whenever that is: in a history it would be time that no clock shows and an
 * order that no seed decides. Here it ends at once; what computes is the same code.
 */
interface Wasm {
  Module: new (bytes: Uint8Array) => object;
  Instance: new (module: object, imports?: object) => object;
  compile(bytes: Uint8Array): Promise<object>;
  instantiate(source: object, imports?: object): Promise<object>;
}

const wasm = (globalThis as unknown as { WebAssembly: Wasm }).WebAssembly;
wasm.compile = async (bytes) => new wasm.Module(bytes);
wasm.instantiate = async (source, imports) => {
  if (source instanceof wasm.Module) return new wasm.Instance(source, imports);
  const module = new wasm.Module(source as Uint8Array);
  return { module, instance: new wasm.Instance(module, imports) };
};

export {};
