import { MemoryStore } from "./memory_store.ts";
import { storeSuite } from "./store_suite.ts";

storeSuite("MemoryStore", () => new MemoryStore());
