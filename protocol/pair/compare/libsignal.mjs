// The same steps by libsignal's published Node package, through its public API: `cargo xtask compare --libsignal`.
// Its licence keeps it out of this tree and of every lock file of ours; this file runs from a folder below `target/`.
//
// CPU time of the whole process: the bridge to native code, promises, collection of garbage and the stores below count
// as well. The stores hand out the package's own objects, so nothing is serialised that ours does not serialise.
import { createRequire } from 'node:module';
import * as signal from '@signalapp/libsignal-client';

const RUNS = 31;
const TEXT = new Uint8Array(1_024).fill(7);
const MESSAGES = 100;

class Sessions extends signal.SessionStore {
  held = new Map();
  async saveSession(name, record) { this.held.set(name.toString(), record); }
  async getSession(name) { return this.held.get(name.toString()) ?? null; }
  async getExistingSessions(names) { return names.map((name) => this.held.get(name.toString())); }
}

class Identities extends signal.IdentityKeyStore {
  pair = signal.IdentityKeyPair.generate();
  known = new Map();
  async getIdentityKey() { return this.pair.privateKey; }
  async getIdentityKeyPair() { return this.pair; }
  async getLocalRegistrationId() { return 5; }
  async saveIdentity(name, key) {
    this.known.set(name.toString(), key);
    return signal.IdentityChange.NewOrUnchanged;
  }
  async isTrustedIdentity() { return true; }
  async getIdentity(name) { return this.known.get(name.toString()) ?? null; }
}

class PreKeys extends signal.PreKeyStore {
  constructor(record) { super(); this.record = record; }
  async savePreKey() {}
  async getPreKey() { return this.record; }
  async removePreKey() {}
}

class SignedPreKeys extends signal.SignedPreKeyStore {
  constructor(record) { super(); this.record = record; }
  async saveSignedPreKey() {}
  async getSignedPreKey() { return this.record; }
}

class KyberPreKeys extends signal.KyberPreKeyStore {
  constructor(record) { super(); this.record = record; }
  async saveKyberPreKey() {}
  async getKyberPreKey() { return this.record; }
  async markKyberPreKeyUsed() {}
}

class Device {
  constructor(name) {
    this.address = signal.ProtocolAddress.new(name, 1);
    this.sessions = new Sessions();
    this.identities = new Identities();
    const key = this.identities.pair.privateKey;
    const oneTime = signal.PrivateKey.generate();
    const signed = signal.PrivateKey.generate();
    const kem = signal.KEMKeyPair.generate();
    const signature = key.sign(signed.getPublicKey().serialize());
    const kemSignature = key.sign(kem.getPublicKey().serialize());
    const now = Date.now();
    this.oneTime = new PreKeys(signal.PreKeyRecord.new(1, oneTime.getPublicKey(), oneTime));
    this.signed = new SignedPreKeys(
      signal.SignedPreKeyRecord.new(1, now, signed.getPublicKey(), signed, signature));
    this.kem = new KyberPreKeys(signal.KyberPreKeyRecord.new(1, now, kem, kemSignature));
    this.bundle = signal.PreKeyBundle.new(5, 1, 1, oneTime.getPublicKey(), 1, signed.getPublicKey(), signature,
      this.identities.pair.publicKey, 1, kem.getPublicKey(), kemSignature);
  }

  initiate(peer) {
    return signal.processPreKeyBundle(peer.bundle, peer.address, this.address, this.sessions, this.identities);
  }

  async encrypt(peer, text = TEXT) {
    const sealed = await signal.signalEncrypt(text, peer.address, this.address, this.sessions, this.identities);
    return { type: sealed.type(), bytes: sealed.serialize() };
  }

  decrypt(peer, { type, bytes }) {
    if (type === signal.CiphertextMessageType.PreKey) {
      return signal.signalDecryptPreKey(signal.PreKeySignalMessage.deserialize(bytes), peer.address, this.address,
        this.sessions, this.identities, this.oneTime, this.signed, this.kem);
    }
    return signal.signalDecrypt(signal.SignalMessage.deserialize(bytes), peer.address, this.address,
      this.sessions, this.identities);
  }
}

// Two devices; `acquainted` ones have a session and a message each way, and one more.
const strangers = () => [new Device('alice'), new Device('bob')];
async function acquainted() {
  const [alice, bob] = strangers();
  await alice.initiate(bob);
  for (const [from, to] of [[alice, bob], [bob, alice], [alice, bob]]) {
    await to.decrypt(from, await from.encrypt(to));
  }
  return [alice, bob];
}

// The median cost of one of the steps that `work` says it did, on what `prepare` made outside the measurement.
async function row(name, prepare, work) {
  const samples = [];
  for (let run = 0; run < RUNS; run++) {
    const prepared = await prepare();
    const begin = process.cpuUsage();
    const steps = await work(prepared);
    const { user, system } = process.cpuUsage(begin);
    samples.push((user + system) / steps);
  }
  samples.sort((a, b) => a - b);
  console.log(`${name.padEnd(52)} ${samples[RUNS >> 1].toFixed(2).padStart(9)} us`);
}

const { version } = createRequire(import.meta.url)('@signalapp/libsignal-client/package.json');
console.log(`libsignal-client ${version} on node ${process.version}`);
const [own, other] = [signal.PrivateKey.generate(), signal.PrivateKey.generate().getPublicKey()];
await row('X25519, through the bridge', async () => {}, () => {
  for (let i = 0; i < 200; i++) own.agree(other);
  return 200;
});
await row('setup, initiator', strangers, async ([alice, bob]) => {
  for (let i = 0; i < 20; i++) {
    alice.sessions.held.clear();
    await alice.initiate(bob);
  }
  return 20;
});
await row('setup, responder, with the first message opened', async () => {
  const [alice, bob] = strangers();
  await alice.initiate(bob);
  return [alice, bob, await alice.encrypt(bob)];
}, async ([alice, bob, first]) => {
  for (let i = 0; i < 20; i++) {
    bob.sessions.held.clear();
    await bob.decrypt(alice, first);
  }
  return 20;
});
await row('encrypt 1 KiB, same chain', acquainted, async ([alice, bob]) => {
  for (let i = 0; i < MESSAGES; i++) await alice.encrypt(bob);
  return MESSAGES;
});
await row('decrypt 1 KiB, same chain', async () => {
  const [alice, bob] = await acquainted();
  const sealed = [];
  for (let i = 0; i < MESSAGES; i++) sealed.push(await alice.encrypt(bob));
  return [alice, bob, sealed];
}, async ([alice, bob, sealed]) => {
  for (const message of sealed) await bob.decrypt(alice, message);
  return sealed.length;
});
await row('encrypt and decrypt 1 KiB, with a DH step each', acquainted, async ([alice, bob]) => {
  for (let i = 0; i < 20; i++) {
    await alice.decrypt(bob, await bob.encrypt(alice));
    await bob.decrypt(alice, await alice.encrypt(bob));
  }
  return 40;
});
