// Sums the lengths of user records: the deaggregation module of AWS Labs in Powertools' batch processing.

import { BatchProcessorSync, EventType, processPartialResponseSync } from '@aws-lambda-powertools/batch';
import { Agent, request } from 'node:http';
import { deaggregateSync } from 'aws-kinesis-agg';

const processor = new BatchProcessorSync(EventType.KinesisDataStreams);

function handle(event) {
    let userRecords = 0;
    let userBytes = 0;
    const process = (kinesisRecord) =>
        deaggregateSync(kinesisRecord.kinesis, true, (error, records) => {
            if (error) throw error;
            for (const record of records) {
                userRecords += 1;
                userBytes += Buffer.from(record.data, 'base64').length;
            }
        });
    const response = processPartialResponseSync(event, process, processor);
    console.log(JSON.stringify({ UserRecords: userRecords, UserBytes: userBytes }));
    return response;
}

// The Runtime API, as short as it can be.
const runtime = `http://${process.env.AWS_LAMBDA_RUNTIME_API}/2018-06-01/runtime/invocation`;
const agent = new Agent({ keepAlive: true });

function call(method, url, body) {
    return new Promise((resolve, reject) => {
        const sent = request(url, { method, agent }, (response) => {
            const chunks = [];
            response.on('data', (chunk) => chunks.push(chunk));
            response.on('end', () => resolve({ headers: response.headers, body: Buffer.concat(chunks) }));
            response.on('error', reject);
        });
        sent.on('error', reject);
        sent.end(body);
    });
}

for (;;) {
    const { headers, body } = await call('GET', `${runtime}/next`);
    const response = JSON.stringify(handle(JSON.parse(body)));
    await call('POST', `${runtime}/${headers['lambda-runtime-aws-request-id']}/response`, response);
}
