// What the tests of the console and of the stack ask of the servers that run beside them.
import net from "node:net";

export const freePort = () => new Promise((done, fail) => {
  const server = net.createServer().once("error", fail).listen(0, "127.0.0.1", () => {
    const { port } = server.address();
    server.close(() => done(port));
  });
});

/**
 * Asks Kafka for a topic with these settings: CreateTopics, version 2. The tests need no client library for this one
 * request.
 */
export function createTopic(name, partitions, settings = {}) {
  const int = (of, bytes = 4) => { const buffer = Buffer.alloc(bytes); buffer.writeIntBE(of, 0, bytes); return buffer; };
  const text = (of) => Buffer.concat([int(of.length, 2), Buffer.from(of)]);
  const pairs = Object.entries(settings).map(([key, value]) => Buffer.concat([text(key), text(String(value))]));
  const topic = Buffer.concat([text(name), int(partitions), int(1, 2), int(0), int(pairs.length), ...pairs]);
  const request = Buffer.concat([int(19, 2), int(2, 2), int(1), text("postback-tests"), int(1), topic, int(30000), Buffer.from([0])]);
  const [host, port] = process.env.POSTBACK_TEST_KAFKA.split(":");
  return new Promise((done, fail) => {
    let answer = Buffer.alloc(0);
    const socket = net.connect(Number(port), host, () => socket.write(Buffer.concat([int(request.length), request])));
    socket.on("error", fail).on("data", (more) => {
      answer = Buffer.concat([answer, more]);
      if (answer.length < 4 || answer.length < 4 + answer.readInt32BE(0)) return;
      // Size, correlation, throttle time, one topic, its name; then the error code.
      const code = answer.readInt16BE(4 + 4 + 4 + 4 + 2 + name.length);
      socket.end();
      if (code) fail(new Error(`Kafka refuses the topic ${name} with error ${code}`));
      else done();
    });
  });
}
