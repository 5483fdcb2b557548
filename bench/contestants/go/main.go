// Sums the lengths of user records with the deaggregation module of AWS Labs.
package main

import (
	"context"
	"fmt"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"github.com/awslabs/kinesis-aggregation/go/v2/deaggregator"
)

func deaggregate(record *events.KinesisRecord) ([]types.Record, error) {
	return deaggregator.DeaggregateRecords([]types.Record{{
		ApproximateArrivalTimestamp: &record.ApproximateArrivalTimestamp.Time,
		Data:                        record.Data,
		PartitionKey:                &record.PartitionKey,
		SequenceNumber:              &record.SequenceNumber,
	}})
}

func handle(_ context.Context, event events.KinesisEvent) (events.KinesisEventResponse, error) {
	response := events.KinesisEventResponse{BatchItemFailures: []events.KinesisBatchItemFailure{}}
	userRecords, userBytes := 0, 0
	for i := range event.Records {
		record := &event.Records[i].Kinesis
		records, err := deaggregate(record)
		if err != nil {
			failure := events.KinesisBatchItemFailure{ItemIdentifier: record.SequenceNumber}
			response.BatchItemFailures = append(response.BatchItemFailures, failure)
			break
		}
		for _, userRecord := range records {
			userRecords++
			userBytes += len(userRecord.Data)
		}
	}
	fmt.Printf("{\"UserRecords\":%d,\"UserBytes\":%d}\n", userRecords, userBytes)
	return response, nil
}

func main() {
	lambda.Start(handle)
}
