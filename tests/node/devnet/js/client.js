// Reads the blocks of a devnet and broadcasts to it with @hiveio/dhive, as any application would.
// node client.js URL CHAIN_ID ACTIVE_KEY COUNT  ->  one line of JSON
const { Client, PrivateKey } = require('@hiveio/dhive');

async function main([url, chainId, wif, count]) {
  const client = new Client(url, { chainId, addressPrefix: 'TST', timeout: 20000 });
  const key = PrivateKey.fromString(wif);
  const ids = [];
  for (let number = 1; number <= Number(count); number++) {
    ids.push((await client.database.getBlock(number)).block_id);
  }
  const [account] = await client.database.getAccounts(['alice']);
  const json = await client.broadcast.json(
    { required_auths: ['alice'], required_posting_auths: [], id: 'dhive', json: JSON.stringify({ bee: '🐝' }) }, key);
  const transfer = await client.broadcast.transfer(
    { from: 'alice', to: 'bob', amount: '0.002 TESTS', memo: 'from outside: é' }, key);
  let refused = '';
  try {
    await client.broadcast.transfer({ from: 'alice', to: 'bob', amount: '999999.000 TESTS', memo: '' }, key);
  } catch (error) {
    refused = error.message;
  }
  const active = account.active.key_auths[0][0];
  console.log(JSON.stringify({ ids, sent: [json.id, transfer.id], refused, active, chain_id: client.chainId.toString('hex') }));
}

main(process.argv.slice(2)).then(() => process.exit(0), (error) => { console.error(error); process.exit(1); });
