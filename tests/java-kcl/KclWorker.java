import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import software.amazon.awssdk.http.Protocol;
import software.amazon.awssdk.http.nio.netty.NettyNioAsyncHttpClient;
import software.amazon.awssdk.services.cloudwatch.CloudWatchAsyncClient;
import software.amazon.awssdk.services.dynamodb.DynamoDbAsyncClient;
import software.amazon.awssdk.services.kinesis.KinesisAsyncClient;
import software.amazon.kinesis.common.ConfigsBuilder;
import software.amazon.kinesis.common.InitialPositionInStream;
import software.amazon.kinesis.common.InitialPositionInStreamExtended;
import software.amazon.kinesis.coordinator.Scheduler;
import software.amazon.kinesis.exceptions.InvalidStateException;
import software.amazon.kinesis.exceptions.ShutdownException;
import software.amazon.kinesis.lifecycle.events.InitializationInput;
import software.amazon.kinesis.lifecycle.events.LeaseLostInput;
import software.amazon.kinesis.lifecycle.events.ProcessRecordsInput;
import software.amazon.kinesis.lifecycle.events.ShardEndedInput;
import software.amazon.kinesis.lifecycle.events.ShutdownRequestedInput;
import software.amazon.kinesis.metrics.MetricsLevel;
import software.amazon.kinesis.processor.ShardRecordProcessor;
import software.amazon.kinesis.processor.SingleStreamTracker;
import software.amazon.kinesis.retrieval.KinesisClientRecord;
import software.amazon.kinesis.retrieval.polling.PollingConfig;

/**
 * A KCL worker that prints one JSON line for each user record, in the order of processing, and one when it has read a shard
 * to its end. When its standard input ends, it shuts down gracefully.
 *
 * <p>Usage: KclWorker STREAM TABLE TRIM_HORIZON|LATEST WORKER, with AWS_ENDPOINT_URL and the like in the environment. A shard
 * stops at a user record whose text begins with "stop", with a checkpoint at the one before it.
 */
public final class KclWorker {
    /** The end of standard input. */
    private static final CountDownLatch END = new CountDownLatch(1);

    private static final ObjectMapper JSON = new ObjectMapper();

    public static void main(String[] args) throws Exception {
        String stream = args[0];
        String table = args[1];
        InitialPositionInStream position = InitialPositionInStream.valueOf(args[2]);
        String worker = args[3];

        // By default, the client for Kinesis takes HTTP/2, which the stand-in speaks with TLS only.
        KinesisAsyncClient kinesis = KinesisAsyncClient.builder()
                .httpClientBuilder(NettyNioAsyncHttpClient.builder().protocol(Protocol.HTTP1_1))
                .build();
        ConfigsBuilder configs = new ConfigsBuilder(
                new SingleStreamTracker(stream, InitialPositionInStreamExtended.newInitialPosition(position)),
                // The name of its lease table, too.
                table,
                kinesis,
                DynamoDbAsyncClient.create(),
                CloudWatchAsyncClient.create(),
                worker,
                Printer::new);
        Scheduler scheduler = new Scheduler(
                configs.checkpointConfig(),
                configs.coordinatorConfig().parentShardPollIntervalMillis(500),
                // Leases are assigned every second, not every twenty. A shorter failover time would do the same, but a graceful
                // shutdown that takes longer than that is cut off, and leaves its leases with an owner.
                configs.leaseManagementConfig().leaseAssignmentIntervalMillis(1000L).shardSyncIntervalMillis(1000),
                configs.lifecycleConfig(),
                // Nothing is sent to CloudWatch.
                configs.metricsConfig().metricsLevel(MetricsLevel.NONE),
                configs.processorConfig(),
                // Fan-out would need RegisterStreamConsumer and HTTP/2.
                configs.retrievalConfig()
                        .retrievalSpecificConfig(
                                new PollingConfig(stream, kinesis).idleTimeBetweenReadsInMillis(200)));
        Thread thread = new Thread(scheduler, "scheduler");
        thread.setDaemon(true);
        thread.start();

        while (System.in.read() >= 0) {}
        var shutdown = scheduler.startGracefulShutdown();
        END.countDown();
        boolean isGraceful = shutdown.get(60, TimeUnit.SECONDS);
        System.exit(isGraceful ? 0 : 1);
    }

    private static void print(Map<String, ?> line) {
        try {
            String json = JSON.writeValueAsString(line);
            // Shards are processed by threads of their own.
            synchronized (System.out) {
                System.out.println(json);
            }
        } catch (JsonProcessingException e) {
            throw new IllegalStateException(e);
        }
    }

    private static final class Printer implements ShardRecordProcessor {
        private String shard;
        private boolean isStopped;

        @Override
        public void initialize(InitializationInput input) {
            shard = input.shardId();
        }

        @Override
        public void processRecords(ProcessRecordsInput input) {
            List<KinesisClientRecord> records = input.records();
            KinesisClientRecord last = null;
            for (KinesisClientRecord record : records) {
                String data = StandardCharsets.UTF_8.decode(record.data().duplicate()).toString();
                isStopped |= data.startsWith("stop");
                if (isStopped) {
                    break;
                }
                Map<String, Object> line = new TreeMap<>();
                line.put("shard", shard);
                line.put("sequenceNumber", record.sequenceNumber());
                line.put("subSequenceNumber", record.subSequenceNumber());
                line.put("data", data);
                print(line);
                last = record;
            }
            try {
                if (last != null) {
                    input.checkpointer().checkpoint(last.sequenceNumber(), last.subSequenceNumber());
                }
                if (isStopped) {
                    print(Map.of("stopped", shard));
                    // The shard's end cannot come meanwhile.
                    END.await();
                }
            } catch (InvalidStateException | ShutdownException | InterruptedException e) {
                throw new IllegalStateException(e);
            }
        }

        @Override
        public void leaseLost(LeaseLostInput input) {}

        @Override
        public void shardEnded(ShardEndedInput input) {
            print(Map.of("ended", shard));
            try {
                // Without it the shard's children are never read.
                input.checkpointer().checkpoint();
            } catch (InvalidStateException | ShutdownException e) {
                throw new IllegalStateException(e);
            }
        }

        @Override
        public void shutdownRequested(ShutdownRequestedInput input) {}
    }
}
