// Pool and guards of an earlier visit, in the page's IndexedDB.

/** Keeps what the client gives it for the next visit, under one name. What it holds is for the client alone to read. */
export interface MixStore {
  load(): Promise<Uint8Array | undefined>;
  save(state: Uint8Array): Promise<void>;
}

const TABLE = "state";

/** Keeps them in a database of this name. Each network of a page needs a name of its own. */
export function indexedDbStore(name = "wakumix"): MixStore {
  const KEY = "client";
  const open = () =>
    new Promise<IDBDatabase>((resolve, reject) => {
      const request = indexedDB.open(name, 1);
      request.onupgradeneeded = () => request.result.createObjectStore(TABLE);
      request.onsuccess = () => resolve(request.result);
      request.onerror = () => reject(request.error ?? new Error("IndexedDB cannot be opened"));
    });
  const use = async <T>(mode: IDBTransactionMode, act: (table: IDBObjectStore) => IDBRequest<T>): Promise<T> => {
    const database = await open();
    try {
      return await new Promise<T>((resolve, reject) => {
        const transaction = database.transaction(TABLE, mode);
        const request = act(transaction.objectStore(TABLE));
        transaction.oncomplete = () => resolve(request.result);
        transaction.onabort = () => reject(transaction.error ?? new Error("IndexedDB gave up"));
      });
    } finally {
      database.close();
    }
  };
  return {
    async load() {
      const found: unknown = await use("readonly", (table) => table.get(KEY));
      return found instanceof Uint8Array ? found : undefined;
    },
    async save(state) {
      await use("readwrite", (table) => table.put(state, KEY));
    },
  };
}
