// Preloaded (`node --require`) into other people's HTTP servers: they listen on this machine only, and say on which port.
const net = require("node:net");

const listen = net.Server.prototype.listen;
net.Server.prototype.listen = function (port, ...rest) {
  this.once("listening", () => process.stdout.write(`PORT ${this.address().port}\n`));
  return listen.call(this, Number(port), "127.0.0.1", ...rest.filter((value) => typeof value === "function"));
};
